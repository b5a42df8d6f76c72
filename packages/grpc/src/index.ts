/**
 * The Open Inference Protocol v2 over gRPC with Triton's extensions, and gRPC's health checks, in front of any handler: as a
 * service without sockets (`createService`) and on a port (`listenGrpc`); and a client for models that answer several times
 * (`grpcTransport`). Other services go on the same port (`GrpcService`), such as Envoy's external processing
 * (`externalProcessor`), external authorization (`externalAuthorization`) and endpoint discovery (`endpointDiscovery`), and KEDA's external scaler (`externalScaler`).
 *
 * @module
 */
export * from "./ask/index.ts";
export * from "./authorization/index.ts";
export * from "./discovery/index.ts";
export * from "./listen/index.ts";
export * from "./processing/index.ts";
export * from "./scaling/index.ts";
export * from "./service/index.ts";
