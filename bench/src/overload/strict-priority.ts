import { type Random, seededRandom } from "@longshore/core";
import { median, quantile } from "../harness.ts";

/** Times that a phase is gone through with other draws. */
const draws = 40;

/**
 * The times from arrival to answer of requests that one instance serves in order, each before all others': its runs as long as
 * some that were measured, drawn at random. `flooded`: others' requests run whenever none of these waits, and a run under way
 * is not taken back.
 */
function times(
  arrivals: readonly number[],
  runsMs: readonly number[],
  flooded: boolean,
  random: Random,
): readonly number[] {
  const run = (): number => runsMs[Math.floor(random.next() * runsMs.length)] ?? 0;
  let freeMs = 0;
  return arrivals.map((atMs) => {
    if (flooded) while (freeMs < atMs) freeMs += run();
    freeMs = Math.max(freeMs, atMs) + run();
    return freeMs - atMs;
  });
}

/**
 * A bound for any scheduler: by how much the 99th percentile of a light tenant grows beside a flood when it is always served
 * first, for runs as they were measured alone and beside.
 */
export function leastP99Ratio(
  arrivals: readonly number[],
  aloneMs: readonly number[],
  besideMs: readonly number[],
  seed: number,
): number {
  const random = seededRandom(seed);
  const p99 = (runsMs: readonly number[], flooded: boolean): number =>
    median(Array.from({ length: draws }, () => quantile(times(arrivals, runsMs, flooded, random), 0.99)));
  return p99(besideMs, true) / p99(aloneMs, false);
}
