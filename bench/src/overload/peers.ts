import { seededRandom } from "@longshore/core";
import { type BenchContext, type Measured, median, type Row, saidMedian } from "../harness.ts";
import type { Generator, LoopDelay } from "../load/drive.ts";
import { overloadPeers } from "../load/overload-peers.ts";
import { expired } from "./parts.ts";
import {
  capacity,
  deadlineMs,
  open,
  type OverloadSubject,
  roundsOf,
  rowOf,
  rowShape,
  told,
  wayBackMs,
} from "./phase.ts";

/** The same loads for servers of other makes, in fewer rounds: how they treat requests whose clients have given up. */
export async function measurePeers(
  generator: Generator,
  file: string,
  { say, seed, args }: BenchContext,
  wanted: ReadonlySet<string>,
): Promise<Measured & { readonly notRun: readonly string[] }> {
  const figures: Record<string, number> = {};
  const rows: Row[] = [];
  const notRun: string[] = [];
  for (const [known, start] of Object.entries(
    overloadPeers({ file, rowShape, deadlineMs: deadlineMs - wayBackMs }),
  )) {
    if (!wanted.has(known)) continue;
    const peer = await start();
    if ("why" in peer) {
      notRun.push(`${peer.name}: ${peer.why}`);
      say(`  ${peer.name} is left out: ${peer.why}`);
      continue;
    }
    try {
      const { name, settings, port, pid, asks } = peer;
      say(`  ${name}: ${settings}`);
      const loopDelay = (): Promise<LoopDelay> => Promise.resolve({ maxMs: NaN, p99Ms: NaN, busyMaxMs: NaN });
      const server = { port, pid, loopDelay };
      const subject: OverloadSubject = { server, generator, expected: "", asks };
      // Workers that answer for the first time would look like a limit.
      await open(subject, "warm", 20, 2, seed);
      const most = await capacity(subject);
      if (most === 0) {
        notRun.push(`${name}: it gave no right answer in time at any load`);
        continue;
      }
      const note = (row: Row): void => {
        rows.push({ server: name, ...row });
        if (row["goodPerSecond"] !== undefined) say(told(row));
      };
      const good: Record<string, number[]> = {};
      for (let round = 0; round < Math.min(3, roundsOf(args)); round++) {
        for (const [load, factor] of [
          ["1x", 1],
          ["2x", 2],
          ["10x", 10],
        ] as const) {
          const phase = await open(subject, load, factor * most, 4, seed + 100 * round + factor);
          note(rowOf(phase, round));
          (good[load] ??= []).push(phase.goodPerSecond);
        }
      }
      // A ramp of two seconds each may stop early; the rate of a longer phase counts as well.
      const peak = Math.max(most, ...Object.values(good).map(median));
      const key = name.replace(/-./g, (letter) => letter.slice(1).toUpperCase());
      figures[`${key}PeakPerSecond`] = peak;
      const random = seededRandom(seed);
      for (const load of ["2x", "10x"]) {
        const figure = `${key}Goodput${load}`;
        const ratios = (good[load] ?? []).map((one) => one / peak);
        figures[figure] = saidMedian({ say, figure, draw: () => random.next() }, ratios);
      }
      figures[`${key}ExpiredRefusalMs`] = (await expired(subject, most, seed + 9000, note)).p99Ms;
    } finally {
      await peer.close();
    }
  }
  return { figures, rows, notRun };
}
