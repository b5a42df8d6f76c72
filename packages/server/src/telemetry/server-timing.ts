import type { StageTime } from "@longshore/core";

/** W3C Server Timing: browsers show it beside the request. */
export const serverTimingHeader = "server-timing";

/** Milliseconds by stage, in the order in which the stages first came: `queue;dur=0.4, run;dur=12.1`. */
export function serverTiming(stages: readonly StageTime[]): string {
  const sums = new Map<string, number>();
  for (const { stage, tookMs } of stages) sums.set(stage, (sums.get(stage) ?? 0) + tookMs);
  return [...sums].map(([stage, tookMs]) => `${stage};dur=${Number(tookMs.toFixed(3))}`).join(", ");
}
