export { grpcTransport, type GrpcTransportOptions } from "./grpc-transport.ts";
