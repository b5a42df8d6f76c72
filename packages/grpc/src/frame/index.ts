export { type FrameOptions, frameSource, type FrameSource } from "./frames.ts";
export { keep } from "./keep.ts";
export { createBufferedBytes, type BufferedBytes } from "./held.ts";
export { acceptedEncodings, compress } from "./inflate.ts";
export { createPatience, type Patience } from "./patience.ts";
export { prefixBytes, prefixOf } from "./prefix.ts";
