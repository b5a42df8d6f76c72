/** Busy time of one request at each stage, in milliseconds and without waits: this device, the link up, the endpoint, the link down. */
export interface Stages {
  readonly deviceMs: number;
  readonly upMs: number;
  readonly thereMs: number;
  readonly downMs: number;
}

/**
 * How much a request adds to what is under way: `(backlog + stage) ** 4 - backlog ** 4`, summed over the stages and brought
 * back to milliseconds by the fourth root. With nothing under way that is about the busiest stage, whose inverse is the
 * rate of frames; with backlogs, a stage that many wait for is dear and an idle one nearly free, so that requests one after
 * another spread over whole and split plans until all endpoints are about equally busy. (Greedy balancing in a norm between
 * the sum and the maximum: B. Awerbuch and others, "Load balancing in the L_p norm", 1995.)
 */
export function paceScore(stages: Stages, backlog: Stages): number {
  const grown =
    added(stages.deviceMs, backlog.deviceMs) +
    added(stages.upMs, backlog.upMs) +
    added(stages.thereMs, backlog.thereMs) +
    added(stages.downMs, backlog.downMs);
  return grown ** 0.25;
}

function added(stageMs: number, backlogMs: number): number {
  // The difference of the fourth powers, without losing small stages behind large backlogs.
  const both = backlogMs + stageMs;
  return stageMs * (both + backlogMs) * (both ** 2 + backlogMs ** 2);
}
