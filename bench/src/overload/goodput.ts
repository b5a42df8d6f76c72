import { seededRandom } from "@longshore/core";
import { type BenchContext, median, quantile, type Row, saidMedian } from "../harness.ts";
import { open, type OverloadSubject, refusals, roundsOf, rowOf } from "./phase.ts";

const seconds = 4;
const loads: readonly (readonly [string, number])[] = [
  ["0.9x", 0.9],
  ["1x", 1],
  ["1.1x", 1.1],
  ["2x", 2],
  ["10x", 10],
];

/**
 * Right answers at loads around and beyond what can be done, in turns, and how long refusals took, beside the least that a
 * refusal takes here. `most`: the best of a ramp, which is more than what it can do for long; `peak` is that.
 */
export async function goodput(
  subject: OverloadSubject,
  bare: OverloadSubject,
  most: number,
  { say, seed, args }: BenchContext,
  note: (row: Row) => void,
): Promise<{ readonly figures: Readonly<Record<string, number>>; readonly peak: number }> {
  // Programs that were not compiled yet take their time for the first refusals: a row, and no part of the figures.
  for (const one of [subject, bare]) {
    await one.server.loopDelay();
    note(rowOf(await open(one, one === bare ? "bare, cold" : "10x, cold", 10 * most, seconds, seed), -1));
  }
  const goods = new Map<string, number[]>();
  const refused: number[][] = [];
  const barely: number[][] = [];
  const rounds = roundsOf(args);
  for (let round = 0; round < rounds; round++) {
    const here: number[] = [];
    for (const [name, factor] of round % 2 === 0 ? loads : loads.toReversed()) {
      const phase = await open(
        subject,
        name,
        factor * most,
        seconds,
        seed + 100 * round + Math.round(factor * 10),
      );
      note(rowOf(phase, round));
      goods.set(name, [...(goods.get(name) ?? []), phase.goodPerSecond]);
      const [one] = phase.result.streams;
      if (one && factor >= 2) here.push(...refusals(one));
    }
    const floor = await open(bare, "bare 10x", 10 * most, seconds, seed + 100 * round);
    note(rowOf(floor, round));
    barely.push(floor.result.streams.flatMap(refusals));
    refused.push(here);
  }
  const of = (name: string, round: number): number => goods.get(name)?.[round] ?? NaN;
  const peaks = Array.from({ length: rounds }, (_, round) =>
    Math.max(of("0.9x", round), of("1x", round), of("1.1x", round)),
  );
  const ratios = (name: string): readonly number[] => peaks.map((peak, round) => of(name, round) / peak);
  const draw = seededRandom(seed);
  const figures: Record<string, number> = {};
  for (const [figure, name] of [
    ["goodput2x", "2x"],
    ["goodput10x", "10x"],
  ] as const) {
    figures[figure] = saidMedian({ say, figure, draw: () => draw.next() }, ratios(name));
  }
  for (const [figure, times] of [
    ["refusalMs", refused],
    ["bareRefusalMs", barely],
  ] as const) {
    // The tail of all refusals is the figure; the rounds tell how much it hangs on which of them were measured.
    figures[figure] = quantile(times.flat(), 0.99);
    say(`  ${figure} ${figures[figure].toFixed(1)} (99th percentile of all rounds)`);
    const tails = times.filter((one) => one.length > 0).map((one) => quantile(one, 0.99));
    saidMedian({ say, figure: `${figure}, a round's`, draw: () => draw.next() }, tails);
  }
  return { figures, peak: median(peaks) };
}

/** The same peak by itself, from fewer phases. */
export async function peakOf(
  subject: OverloadSubject,
  most: number,
  seed: number,
  note: (row: Row) => void,
): Promise<number> {
  let peak = 0;
  for (const [name, factor] of loads.slice(0, 3)) {
    const phase = await open(subject, name, factor * most, seconds, seed + Math.round(factor * 10));
    note(rowOf(phase, 0));
    peak = Math.max(peak, phase.goodPerSecond);
  }
  return peak;
}
