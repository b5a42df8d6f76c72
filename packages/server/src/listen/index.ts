export { type CorsOptions, withCors } from "./cors.ts";
export { directSocket } from "./http1/direct-socket.ts";
export { listen, type Listening } from "./listen.ts";
export type { ListenOptions } from "./options.ts";
export { createPeerReader } from "./peer.ts";
export { type ListenTls, nodeTls } from "./tls.ts";
