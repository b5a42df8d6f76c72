/** Rows of `bench decide` for requests that come as they please: the files of the data folder, seeded draws, recorded bursts. */
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "@longshore/core";
import { poissonArrivals, readArrivals, steadyArrivals, stretched, type Trace } from "@longshore/lab";
import { type ArrivalRow, arrivalRow, replayOffloader, type ReplaySetting } from "./policy/index.ts";
import { scaledBursts } from "./decide-traces.ts";
import { median } from "./harness.ts";

/** One kind of arrivals for a run of `localMs` here; `draw` counts from 0, of which the first is the file where there is one. */
export interface ArrivalKind {
  readonly name: string;
  /** Of the device, if all ran here. */
  readonly load: number;
  readonly random: boolean;
  instants(localMs: number, draw: number): readonly number[];
}

/** Requests of a row. */
const requests = 600;
/** Purpose of each arrival file. */
const fileLocalMs = 400;

/** Kinds of arrivals, with the files of `data/arrivals` and the recorded bursts where they are there. */
export function arrivalKinds(
  data: string | undefined,
  bursts: readonly number[] | undefined,
  seed: number,
): readonly ArrivalKind[] {
  const fileOf = (name: string): readonly number[] | undefined => {
    const path = data && join(data, "arrivals", `${name}.csv`);
    return path && existsSync(path) ? readArrivals(`${name}.csv`, readFileSync(path, "utf8")) : undefined;
  };
  const seedOf = (name: string, draw: number): number =>
    createHash("sha256").update(`${seed} ${name} ${draw}`).digest().readUInt32LE();
  const kind = (
    name: string,
    load: number,
    drawn: (random: () => number, seed: number) => readonly number[],
  ): ArrivalKind => ({
    name,
    load,
    random: true,
    instants(localMs, draw) {
      const own = seedOf(name, draw);
      const random = seededRandom(own);
      const file = draw === 0 ? fileOf(name) : undefined;
      return stretched(file ?? drawn(() => random.next(), own), localMs / fileLocalMs);
    },
  });
  const poisson = (load: number): ArrivalKind =>
    kind(`poisson-0${load * 10}`, load, (_, own) =>
      poissonArrivals((1000 * load) / fileLocalMs, requests, own),
    );
  return [
    { name: "beat", load: 0.8, random: false, instants: () => steadyArrivals(500, requests) },
    kind("jitter", 0.8, (next) => Array.from({ length: requests }, (_, at) => at * 500 + next() * 400)),
    poisson(0.3),
    poisson(0.6),
    poisson(0.8),
    kind("pairs", 0.4, (next) =>
      Array.from({ length: requests / 2 }, (_, at) => [at * 2000, at * 2000 + 150 + 50 * next()]).flat(),
    ),
    ...(bursts
      ? [
          {
            name: "bursts",
            load: 0.3,
            random: false,
            instants: (localMs: number) => scaledBursts(bursts, localMs).arrivals.slice(0, 2 * requests),
          },
        ]
      : []),
  ];
}

const settings = [
  [20_000, 100, 20],
  [20_000, 400, 50],
  [150_000, 100, 20],
  [150_000, 400, 50],
  [600_000, 400, 50],
] as const;

/** Further properties of a setting, by its name in rows. */
export interface ArrivalWorld {
  readonly name?: string;
  readonly more?: Partial<ReplaySetting>;
  /** Positions of the settings that are replayed. Default: all. */
  readonly settings?: readonly number[];
}

/** The rows of one trace, for this many draws of each random kind. */
export async function arrivalRows(
  trace: Trace,
  kinds: readonly ArrivalKind[],
  draws: number,
  { name, more = {}, settings: chosen }: ArrivalWorld = {},
): Promise<readonly ArrivalRow[]> {
  const rows: ArrivalRow[] = [];
  for (const [position, [requestBytes, localMs, roundTripMs]] of settings.entries()) {
    if (chosen && !chosen.includes(position)) continue;
    for (const kind of kinds) {
      for (let draw = 0; draw < (kind.random ? draws : 1); draw++) {
        const arrivals = kind.instants(localMs, draw);
        const lengthMs = (arrivals.at(-1) ?? 0) + 1;
        const setting: ReplaySetting = {
          trace,
          requestBytes,
          localMs,
          serverMs: 15,
          roundTripMs,
          arrivals,
          lengthMs,
          ...more,
        };
        const row = name === undefined ? kind.name : `${name} ${kind.name}`;
        rows.push(arrivalRow(setting, row, await replayOffloader(setting)));
      }
    }
  }
  return rows;
}

const busiest = 0.8;

/** Aims over these rows, names with a prefix. Of the draws of a row the median counts. */
export function arrivalFigures(
  rows: readonly ArrivalRow[],
  kinds: readonly ArrivalKind[],
): Readonly<Record<string, number>> {
  const busy = new Set(kinds.filter(({ load }) => load >= busiest).map(({ name }) => name));
  // A row of a world is named after it and the kind.
  const isBusy = ({ arrivals }: ArrivalRow): boolean => busy.has(arrivals.split(" ").at(-1) ?? "");
  const medians = (pick: (row: ArrivalRow) => number, of: readonly ArrivalRow[] = rows): number[] => {
    const byRow = new Map<string, number[]>();
    for (const row of of) {
      const { trace, arrivals, requestBytes, localMs } = row;
      const key = `${trace} ${arrivals} ${requestBytes} ${localMs}`;
      byRow.set(key, [...(byRow.get(key) ?? []), pick(row)]);
    }
    return [...byRow.values()].map((draws) => median(draws));
  };
  const worst = (list: readonly number[]): number =>
    list.reduce((most, one) => Math.max(most, one), -Infinity);
  return {
    worstMeanVsLocal: worst(medians((row) => row.meanVsLocal)),
    worstP99VsLocal: worst(medians((row) => row.p99VsLocal)),
    worstAnswerBeyondLocal: worst(
      medians(
        (row) => row.beyondLocal,
        rows.filter((row) => !isBusy(row)),
      ),
    ),
    worstAnswerBeyondLocalBusy: worst(medians((row) => row.beyondLocal, rows.filter(isBusy))),
    secondRunRatio: worst(medians((row) => row.secondRunRatio)),
    inVainRatio: worst(medians((row) => row.inVainRatio)),
    ...meansVsOracle(rows),
  };
}

/** The average and the worst mean over the oracle's, of rows where offloading can pay. */
export function meansVsOracle(rows: readonly ArrivalRow[]): {
  readonly averageMeanVsOracle: number;
  readonly worstMeanVsOracle: number;
} {
  const scored = rows.filter(({ scored: pays }) => pays).map(({ meanVsOracle }) => meanVsOracle);
  return {
    averageMeanVsOracle: scored.reduce((sum, one) => sum + one, 0) / Math.max(1, scored.length),
    worstMeanVsOracle: scored.reduce((most, one) => Math.max(most, one), 0),
  };
}

/** Hashes of the names of traces that nothing is chosen on. They are run with `--held-out` only. */
const heldOut: ReadonlySet<string> = new Set([
  "3e4502ee229d58a2d27a543383ed895c80c83fdd89ae4f8d47516bf9dc503ce7",
  "0cf0f057c26066625d3c1a4ab4a187d6e05df075eb21d7565f6ade40ea4e8f26",
  "05576d99ee03840336f5ce9346bf30e1d07caaad85a364e7c3d0d66edd3d16ca",
  "b8f7321873e395d0048c032c9f98e6c23572224e0735bc676f9f610652c89540",
]);

function hashOf(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}

/** Whether a trace is held out, by the hash of its file's name. */
export function isHeldOut(name: string): boolean {
  return heldOut.has(hashOf(name.replace(/ as uplink$/, "")));
}

/** Writes down that held-out traces were looked at: each look makes them a little less so. */
export function logHeldOut(
  about: {
    readonly commit: string;
    readonly kinds: readonly string[];
    readonly traces: number;
    readonly draws: number;
  },
  figures: Readonly<Record<string, number>>,
): void {
  const line = JSON.stringify({ ...about, at: new Date().toISOString().slice(0, 10), ...figures });
  appendFileSync(new URL("../held-out-runs.log", import.meta.url), `${line}\n`);
}
