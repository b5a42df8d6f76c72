export { createOffloader } from "./create-offloader.ts";
export { offloadEndpoint } from "./offload-endpoint.ts";
export * from "./offloader.ts";
export * from "./parts.ts";
