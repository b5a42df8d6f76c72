export { createOffloader } from "./create-offloader.ts";
export { offloadEndpoint, type OffloadEndpoint, type OffloadEndpointParts } from "./offload-endpoint.ts";
