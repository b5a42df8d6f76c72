export {
  type Decided,
  externalProcessor,
  type ProcessedReply,
  type ProcessedRequest,
  type Processing,
  type ProcessorOptions,
  type RequestProcessor,
} from "./external-processor.ts";
export {
  grpcMethodKind,
  type GrpcMethodKind,
  type GrpcModel,
  grpcModelOf,
  streamInferPath,
} from "./grpc-request.ts";
