export { createOffloader } from "./create-offloader.ts";
export { type OffloadEndpoint, offloadEndpoint } from "./offload-endpoint.ts";
export * from "./parts.ts";
export type { UpkeepOptions } from "./knowledge.ts";
