export { infer } from "./infer.ts";
export { arrivedCall, checkPlannedDigest } from "./parse.ts";
export { untilSent } from "./reply.ts";
