export { callFor, confirming, planLimits } from "./call-for.ts";
export { admitAtDoor, outlook, refusal } from "./door.ts";
export { isGone, type Job, nobody } from "./job.ts";
export { refusedNow } from "./last-resort.ts";
export { createLoop, type Loop } from "./loop.ts";
export type { OffloadDefaults, OffloadParts } from "./parts.ts";
export type { RetryOptions } from "./retries.ts";
export { forgetRefused, type Outcome, runJob } from "./run-job.ts";
export {
  beginLeg,
  bookAnswer,
  bookBroken,
  bookLoss,
  endFailedLeg,
  endLeg,
  type Running,
} from "./running.ts";
export { streamJob } from "./stream-job.ts";
