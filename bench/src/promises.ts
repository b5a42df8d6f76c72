/** Whether promised quantiles hold on traces, and what they are worth beside smoothed rates. */
import type { LinkBeliefOptions } from "@longshore/core/internal";
import { type Trace } from "@longshore/lab";
import {
  coverageInterval,
  coverageOf,
  pinballLoss,
  type RateFigures,
  type Send,
  sendBlocks,
  sends,
} from "./policy/index.ts";
import type { Row } from "./harness.ts";

/** When bodies are sent on a trace, in milliseconds: rounds, each from the beginning and with a belief that knows nothing. */
export type SendTimes = (trace: Trace) => readonly (readonly number[])[];

const secondMs = 1000;
const secondsOf = (trace: Trace): number => Math.floor(trace.lengthMs / secondMs);

/** At each whole second since the trace began: where it was recorded by the second, always just when the line changes. */
export const onTheBeat: SendTimes = (trace) => [
  Array.from({ length: secondsOf(trace) }, (_, second) => second * secondMs),
];

const inWords = ({ empty, queued }: RateFigures): string =>
  `${empty.toFixed(1)} ms, after its backlog ${queued.toFixed(1)} ms`;

/** A body of that size at those times on each trace: one row a trace, and figures over all. */
export function promises(
  traces: readonly Trace[],
  bytes: number,
  times: SendTimes,
  link: LinkBeliefOptions,
  say: (line: string) => void,
): { readonly rows: readonly Row[]; readonly figures: Readonly<Record<string, number>> } {
  const all: Send[] = [];
  const blocks: (readonly Send[])[] = [];
  const rows: Row[] = [];
  for (const trace of traces) {
    const rounds = times(trace).map((arrivals) => sends(trace, bytes, arrivals, link));
    const list = rounds.flat();
    const loss = pinballLoss(list);
    all.push(...list);
    blocks.push(...sendBlocks(rounds));
    // Behind what is unacknowledged, or as if the link were empty: whichever was better on this trace.
    const smoothed = Math.min(loss.smoothed.queued, loss.smoothed.empty);
    const shown = Math.min(loss.shown.queued, loss.shown.empty);
    const row = {
      kind: "promises",
      trace: trace.name,
      bytes,
      sends: list.length,
      p50Coverage: coverageOf(list, 0.5),
      p95Coverage: coverageOf(list, 0.95),
      pinballMs: loss.ours,
      smoothedPinballMs: loss.smoothed.empty,
      smoothedQueuedPinballMs: loss.smoothed.queued,
      shownPinballMs: loss.shown.empty,
      shownQueuedPinballMs: loss.shown.queued,
      pinballVsSmoothed: loss.ours / smoothed,
      pinballVsShown: loss.ours / shown,
    };
    rows.push(row);
    say(
      `  ${trace.name}: ${list.length} sends, p50 kept ${row.p50Coverage.toFixed(3)}, p95 kept ${row.p95Coverage.toFixed(3)}, pinball ${loss.ours.toFixed(1)} ms (smoothed rate ${inWords(loss.smoothed)}: ${row.pinballVsSmoothed.toFixed(2)} of the better; shown the line ${inWords(loss.shown)}: ${row.pinballVsShown.toFixed(2)})`,
    );
  }
  const [low, high] = coverageInterval(blocks, 0.95);
  say(
    `  all ${all.length} sends: p95 kept ${coverageOf(all, 0.95).toFixed(3)} (95 % of blocks: ${low.toFixed(3)}..${high.toFixed(3)}), p50 kept ${coverageOf(all, 0.5).toFixed(3)}`,
  );
  const worst = (name: string): number => Math.max(...rows.map((row) => Number(row[name])));
  return {
    rows,
    figures: {
      p95Coverage: coverageOf(all, 0.95),
      p50Coverage: coverageOf(all, 0.5),
      worstPinballVsSmoothed: worst("pinballVsSmoothed"),
      worstPinballVsShown: worst("pinballVsShown"),
    },
  };
}
