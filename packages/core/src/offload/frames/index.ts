export { type Backlog, backlogOf, type Charged } from "./backlog.ts";
export { type FrameLimits, frameLine, type FrameOutcome } from "./frame-line.ts";
export { payback, type Payback, savedMs } from "./payback.ts";
