import type { RunTimes } from "./run-times.ts";

/** How fast requests that could share a run follow each other. */
interface ArrivalPace {
  seen(nowMs: number): void;
  /** Expected time until the next one; Infinity until two were seen. */
  gapMs(nowMs: number): number;
}

/** Weight of the newest gap: bursts begin and end within a few requests. */
const learning = 0.2;

function arrivalPace(): ArrivalPace {
  let lastMs: number | undefined;
  let meanMs: number | undefined;
  return {
    seen(nowMs) {
      if (lastMs !== undefined) {
        const gapMs = nowMs - lastMs;
        meanMs = meanMs === undefined ? gapMs : meanMs + (gapMs - meanMs) * learning;
      }
      lastMs = nowMs;
    },
    // A pause longer than the gaps before it is a sign that the burst has ended.
    gapMs: (nowMs) =>
      meanMs === undefined || lastMs === undefined ? Infinity : Math.max(meanMs, nowMs - lastMs),
  };
}

/** The pace of each group whose requests may share runs. */
export interface ArrivalPaces {
  of(sharers: string): ArrivalPace;
}

/** Groups that are remembered; the oldest goes. */
const mostGroups = 256;

export function arrivalPaces(): ArrivalPaces {
  const paces = new Map<string, ArrivalPace>();
  return {
    of(sharers) {
      const known = paces.get(sharers);
      if (known) return known;
      const [oldest] = paces.keys();
      if (paces.size >= mostGroups && oldest !== undefined) paces.delete(oldest);
      const made = arrivalPace();
      paces.set(sharers, made);
      return made;
    },
  };
}

/** A wait below this is not worth a timer, and shorter than timers are exact. */
const leastWaitMs = 1;

/**
 * How long it pays to leave an instance idle so that one more row joins the `rows` that wait; 0 when it does not.
 *
 * One step ahead, by what all would wait in sum. Let T be the time of a run. If the next row comes in d, then with waiting
 * the present rows are answered after d + T(rows + 1), and the next one T(rows + 1) after it came; without, the present
 * rows after T(rows), and the next one waits for the rest of their run and runs alone: T(rows) - d + T(1). Waiting is
 * better for
 *
 *     d < (T(rows) + T(1) - T(rows + 1) - rows * (T(rows + 1) - T(rows))) / (rows + 1)
 *
 * which is (a - rows * b) / (rows + 1) for a run of fixed cost a and b for each row: it pays only while the fixed cost is
 * large against the gap between requests, and less with every row that is there. The gap is learned; should the next row
 * not come by the instant at which waiting stops paying, the present ones run.
 */
export function worthwhileWaitMs(rows: number, times: RunTimes, rowBytes: number, gapMs: number): number {
  const oneMs = times.ranMs(1, rowBytes);
  const nowMs = times.ranMs(rows, rowBytes);
  const moreMs = times.ranMs(rows + 1, rowBytes);
  if (oneMs === undefined || nowMs === undefined || moreMs === undefined) return 0;
  const breakEvenMs = (nowMs + oneMs - moreMs - rows * (moreMs - nowMs)) / (rows + 1);
  return breakEvenMs >= leastWaitMs && gapMs < breakEvenMs ? breakEvenMs : 0;
}
