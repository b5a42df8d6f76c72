export { createOffloader } from "./create-offloader.ts";
export { offloadEndpoint, type OffloadEndpoint } from "./offload-endpoint.ts";
