export { type Admission, admit, type Demand } from "./admission.ts";
export { type GraphLease, type GraphPool, graphPool } from "./graph-pool.ts";
export { leastBatch } from "./load-report.ts";
export type { Scheduler } from "./seam.ts";
export type { Ticket } from "./tickets.ts";
export type { RunOutcome } from "./waiting.ts";
export { rateLimiter } from "./rate-limiter.ts";
export { unaskedBatching } from "./unasked.ts";
export { type BatchVerdict, type BatchVerdicts, parseVerdict } from "./verdict.ts";
