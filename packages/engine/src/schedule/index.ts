export { type Admission, admit, type Demand } from "./admission.ts";
export type { OpenSession } from "./instance.ts";
export { openScheduler, type Scheduler, type SchedulerParts } from "./scheduler.ts";
export type { Ticket } from "./tickets.ts";
export type { RunOutcome } from "./waiting.ts";
