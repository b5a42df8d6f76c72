export { type GrpcListening, listenGrpc } from "./listen.ts";
export type { GrpcListenOptions } from "./options.ts";
