/** Whether promised quantiles hold on traces, and what they are worth beside a smoothed rate. */
import type { LinkBeliefOptions } from "@longshore/core";
import { coverageInterval, coverageOf, pinballLoss, type Send, sends, type Trace } from "@longshore/lab";
import type { Row } from "./harness.ts";

/** A body of that size every second on each trace: one row a trace, and figures over all. */
export function promises(
  traces: readonly Trace[],
  bytes: number,
  link: LinkBeliefOptions,
  say: (line: string) => void,
): { readonly rows: readonly Row[]; readonly figures: Readonly<Record<string, number>> } {
  const all: Send[] = [];
  const rows: Row[] = [];
  const ratios: number[] = [];
  for (const trace of traces) {
    const list = sends(trace, bytes, 1000, link);
    const loss = pinballLoss(list);
    all.push(...list);
    ratios.push(loss.ours / loss.smoothed);
    rows.push({
      kind: "promises",
      trace: trace.name,
      bytes,
      sends: list.length,
      p50Coverage: coverageOf(list, 0.5),
      p95Coverage: coverageOf(list, 0.95),
      pinballMs: loss.ours,
      smoothedPinballMs: loss.smoothed,
    });
    say(
      `  ${trace.name}: ${list.length} sends, p50 kept ${coverageOf(list, 0.5).toFixed(3)}, p95 kept ${coverageOf(list, 0.95).toFixed(3)}, pinball ${loss.ours.toFixed(1)} ms (smoothed rate ${loss.smoothed.toFixed(1)} ms: ${(loss.ours / loss.smoothed).toFixed(2)} of it)`,
    );
  }
  const [low, high] = coverageInterval(all, 0.95);
  say(
    `  all ${all.length} sends: p95 kept ${coverageOf(all, 0.95).toFixed(3)} (95 % of blocks: ${low.toFixed(3)}..${high.toFixed(3)}), p50 kept ${coverageOf(all, 0.5).toFixed(3)}`,
  );
  return {
    rows,
    figures: {
      p95Coverage: coverageOf(all, 0.95),
      p50Coverage: coverageOf(all, 0.5),
      worstPinballVsSmoothed: Math.max(...ratios),
    },
  };
}
