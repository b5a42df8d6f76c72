/**
 * `bench decide --part jumping`: a server whose run times jump, beside staying here and the oracle of `bench decide`.
 *
 * - In turn its runs take their usual time, and 3 to 30 times that: each slow spell draws its own factor. Spells last 15 s, 30 s, or a
 *   random time of 20 s on average. Nothing tells the client.
 * - A request on the beat, and Poisson arrivals at loads of 0.3 and 0.6; over a wire, Wi-Fi and a recorded LTE uplink.
 * - Seeds are drawn anew in each run, unless `--seed` names one.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Random, seededRandom } from "@longshore/core";
import { exponential } from "@longshore/core/internal";
import { constantTrace, linkShapes, readMahimahi, syntheticTrace, type Trace } from "@longshore/lab";
import { type ArrivalKind, arrivalKinds } from "./decide-arrivals.ts";
import { arrivalTable, print } from "./decide-report.ts";
import { type Bench, numberOf, type Row } from "./harness.ts";
import { type ArrivalRow, arrivalRow, replayOffloader, type ReplaySetting } from "./policy/index.ts";

/** How long spells last, in milliseconds; undefined for a random time. */
const spells = [15_000, 30_000, undefined] as const;
const randomSpellMs = 20_000;
/** Slow runs take between these factors longer; the logarithm is uniform. */
const factors = { least: 3, most: 30 };
const settings = [
  { requestBytes: 20_000, localMs: 100, roundTripMs: 20, serverMs: 10 },
  { requestBytes: 150_000, localMs: 400, roundTripMs: 50, serverMs: 40 },
] as const;
const kinds: ReadonlySet<string> = new Set(["beat", "poisson-03", "poisson-06"]);

/** The factor at each instant: 1 and a drawn one in turn. The same at every call. */
function jumping(spellMs: number | undefined, random: Random): (atMs: number) => number {
  const ends: number[] = [];
  const drawn: number[] = [];
  return (atMs) => {
    while ((ends.at(-1) ?? 0) <= atMs) {
      const slow = ends.length % 2 === 1;
      ends.push((ends.at(-1) ?? 0) + (spellMs ?? Math.max(2000, exponential(random, randomSpellMs))));
      drawn.push(slow ? factors.least * (factors.most / factors.least) ** random.next() : 1);
    }
    return drawn[ends.findIndex((end) => atMs < end)] ?? 1;
  };
}

function tracesOf(data: string | undefined, seed: number): readonly Trace[] {
  const path = data && join(data, "traces/lte-mahimahi/TMobile-LTE-short.up");
  const recorded = path && existsSync(path) ? readFileSync(path, "utf8") : undefined;
  return [
    constantTrace(20e6),
    syntheticTrace(linkShapes.wifi, seed, 120_000, "Wi-Fi"),
    ...(recorded === undefined ? [] : [readMahimahi("TMobile-LTE-short.up", recorded)]),
  ];
}

async function rowsOf(
  trace: Trace,
  arrivals: readonly ArrivalKind[],
  { seed, draws }: { readonly seed: number; readonly draws: number },
): Promise<readonly ArrivalRow[]> {
  const rows: ArrivalRow[] = [];
  for (const [at, spellMs] of spells.entries()) {
    for (const kind of arrivals) {
      for (const setting of settings) {
        for (let draw = 0; draw < draws; draw++) {
          const instants = kind.instants(setting.localMs, draw);
          const replayed: ReplaySetting = {
            trace,
            ...setting,
            arrivals: instants,
            lengthMs: (instants.at(-1) ?? 0) + 1,
            serverFactorAt: jumping(spellMs, seededRandom(seed + 1000 * at + draw)),
          };
          const name = `${spellMs === undefined ? "random" : `${spellMs / 1000} s`} ${kind.name}`;
          rows.push(arrivalRow(replayed, name, await replayOffloader(replayed)));
        }
      }
    }
  }
  return rows;
}

function most(rows: readonly ArrivalRow[], pick: (row: ArrivalRow) => number): number {
  return rows.reduce((max, row) => Math.max(max, pick(row)), 0);
}

export const bench: Bench = {
  name: "decide --part jumping",
  about: "a server whose run times jump by 3 to 30: guarded decisions beside staying here and the oracle",
  options: ["--draws N"],
  bars: {
    worstMeanVsOracle: { atMost: 1.2 },
    worstP99VsLocal: { atMost: 1.6 },
    worstMeanVsLocal: { atMost: 1.005 },
    secondRunRatio: { atMost: 0.2 },
  },
  async run({ data, seed, args, say }) {
    const draws = numberOf(args, "draws", 2);
    const arrivals = arrivalKinds(undefined, undefined, seed).filter(({ name }) => kinds.has(name));
    const rows: ArrivalRow[] = [];
    for (const trace of tracesOf(data, seed)) {
      const own = await rowsOf(trace, arrivals, { seed, draws });
      say(`\n  ${trace.name}, seed ${seed}:`);
      print(arrivalTable(own), say);
      rows.push(...own);
    }
    const scored = rows.filter((row) => row.scored);
    const total = scored.reduce((sum, row) => sum + row.meanVsOracle, 0);
    return {
      figures: {
        averageMeanVsOracle: total / Math.max(1, scored.length),
        worstMeanVsOracle: most(scored, (row) => row.meanVsOracle),
        worstP99VsLocal: most(rows, (row) => row.p99VsLocal),
        worstMeanVsLocal: most(rows, (row) => row.meanVsLocal),
        secondRunRatio: most(rows, (row) => row.secondRunRatio),
      },
      rows: rows.map((row): Row => ({ kind: "jumping", ...row })),
    };
  },
};
