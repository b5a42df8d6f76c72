export type { Frame, ServerCall, ServiceParts } from "./call.ts";
export { headersOfTrailers } from "./infer.ts";
export { createService, type Service } from "./service.ts";
export { type GrpcService, type Method, type MethodCall, methodPaths } from "./methods.ts";
export { type GrpcStatus, httpStatusOf, replyOf, statusOf } from "./status.ts";
export { grpcTimeoutMs } from "./timeout.ts";
