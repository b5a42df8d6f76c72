export { type GrpcListening, listenGrpc } from "./listen.ts";
export type { GrpcListenOptions, GrpcTlsOptions } from "./options.ts";
