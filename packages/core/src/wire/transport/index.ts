export { acknowledgeStep, probeHeadBytes, probeStep, tinyBytes } from "./acknowledge-step.ts";
export { ArrivingBody, brokenBody, waitingBytes } from "./arriving-body.ts";
export { keptBody, type KeptBody } from "./kept-body.ts";
export type { Direction, Link, LinkLearner, TransferNote } from "./link.ts";
export { bodyLength, type BodyOptions, readBody, readParts } from "./read-body.ts";
export {
  emptyBody,
  type Handler,
  type IncomingMessage,
  type Peer,
  type PeerCertificate,
  readMemoryBytes,
  type Reads,
  type Surface,
  type Transport,
  type WireBody,
  type WireRequest,
  type WireResponse,
} from "./transport.ts";
