export { afterPause, newConnection } from "./connecting.ts";
export { acknowledgeStep, probeHeadBytes, probeStep, tinyBytes } from "./acknowledge-step.ts";
export type { Direction, Link, LinkLearner, TransferNote } from "./link.ts";
export {
  type Handler,
  type IncomingMessage,
  type Peer,
  type PeerCertificate,
  readMemoryBytes,
  type ReadBuffers,
  type Surface,
  type Connecting,
  type Transport,
  type WireRequest,
  type WireResponse,
} from "./transport.ts";
