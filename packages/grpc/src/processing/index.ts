export { accessLog, type AccessLogOptions, type LoggedRequest } from "./access-log.ts";
export {
  type Decided,
  externalProcessor,
  type ProcessedReply,
  type ProcessedRequest,
  type Processing,
  type ProcessorOptions,
  repliesHeader,
  type RequestProcessor,
} from "./external-processor.ts";
export {
  grpcMethodKind,
  type GrpcMethodKind,
  type GrpcModel,
  grpcModelOf,
  streamInferPath,
} from "./grpc-request.ts";
