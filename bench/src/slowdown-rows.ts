/** How soon a device that heats up, is throttled or busy, or recovers, is foretold right: the real offloader on a virtual clock. */
import { type ForetoldRun, longestOff, slowdowns, slowedDevice } from "@longshore/lab";
import { type BenchContext, mean, median, quantile, type Row } from "./harness.ts";

/** How much runs vary: as those of a machine that nobody else uses, and of one that many do. */
const spreads = [0.05, 0.15, 0.3];
const devices = 50;
/** Runs before a change, and after it. */
const settledRuns = 100;
const runs = 200;
/** What is off by more was not noticed. */
const offRatio = 0.15;

const off = ({ foretoldMs, trueMs }: ForetoldRun): number => Math.abs(foretoldMs / trueMs - 1);

/** A row for each change and each spread: medians over devices, and what a tenth of them exceed. */
export async function slowdownRows({ seed, say }: BenchContext): Promise<readonly Row[]> {
  const rows: Row[] = [];
  say(
    `  on a virtual clock, ${devices} devices each: runs in a row off by more than ${100 * offRatio} %, and the worst prediction`,
  );
  for (const logSpread of spreads) {
    for (const [name, slowdown] of Object.entries(slowdowns)) {
      const all = await Promise.all(
        Array.from({ length: devices }, (_, device) =>
          slowedDevice({ slowdown, settledRuns, runs, logSpread, seed: seed + device }),
        ),
      );
      const longest = all.map((one) => longestOff(one, offRatio));
      const worst = all.map((one) => Math.max(...one.map(off)));
      const row = {
        part: "slowdown",
        slowdown: name,
        logSpread,
        offRuns: median(longest),
        offRunsOfTenth: quantile(longest, 0.9),
        worstError: median(worst),
        worstErrorOfTenth: quantile(worst, 0.9),
        meanError: mean(all.map((one) => mean(one.map(off)))),
      };
      rows.push(row);
      say(
        `  spread ${logSpread.toFixed(2)}  ${name.padEnd(32)} off for ${row.offRuns.toFixed(0).padStart(3)} (${row.offRunsOfTenth.toFixed(0)}), worst ${(100 * row.worstError).toFixed(1).padStart(5)} % (${(100 * row.worstErrorOfTenth).toFixed(1)}), mean ${(100 * row.meanError).toFixed(1)} %`,
      );
    }
  }
  return rows;
}

/** Of the least spread: the most runs that a change goes unnoticed, and the worst prediction where nothing changes. */
export function slowdownFigures(rows: readonly Row[]): Readonly<Record<string, number>> {
  const own = rows.filter(({ logSpread }) => logSpread === spreads[0]);
  const steady = own.find(({ slowdown }) => slowdown === "steady");
  return {
    slowdownRuns: Math.max(...own.map(({ offRuns }) => Number(offRuns))),
    slowdownRunsOfTenth: Math.max(...own.map(({ offRunsOfTenth }) => Number(offRunsOfTenth))),
    steadyError: Number(steady?.["worstError"]),
  };
}
