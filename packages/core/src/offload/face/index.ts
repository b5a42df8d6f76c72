export { createOffloader } from "./create-offloader.ts";
export {
  createPicker,
  type EndpointPicker,
  type Picked,
  type PickedReply,
  type PickRequest,
} from "./picker.ts";
export { offloadEndpoint, type OffloadEndpoint, type OffloadEndpointParts } from "./offload-endpoint.ts";
