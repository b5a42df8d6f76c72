export { ArrivingBody, brokenBody, waitingBytes } from "./arriving-body.ts";
export {
  bodyLength,
  bodyOf,
  canBegin,
  chunksOf,
  emptyBody,
  isUnderWay,
  type StreamBody,
  watched,
  watchedChunks,
  type WholeBody,
  type WireBody,
} from "./body.ts";
export { followedByChecksum, followedCheck, withoutChecksum } from "./followed-body.ts";
export { type KeptBody, keptBody } from "./kept-body.ts";
export { type BodyOptions, readBody, readParts } from "./read-body.ts";
