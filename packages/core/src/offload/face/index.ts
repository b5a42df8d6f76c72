export { createOffloader } from "./create-offloader.ts";
export { offloadEndpoint, type OffloadEndpoint } from "./offload-endpoint.ts";
export { nextRound, Retries, retriesOf, type RetryOptions, type Waiting } from "./retries.ts";
