import { clientWeighted } from "./pickers/client-weighted.ts";
import { peakEwma } from "./pickers/peak-ewma.ts";
import {
  fleetOracle,
  freshReports,
  leastRequest,
  type PickerKind,
  roundRobin,
  weightedRoundRobin,
} from "./pickers/picker.ts";
import { prequal } from "./pickers/prequal.ts";
import { type FleetRun, runFleet } from "./pickers/run-fleet.ts";
import { type Bench, type BenchContext, type Measured, quantile, type Row } from "./harness.ts";
import { type Case, onSockets, type PreparedScene, sceneOf, simulated } from "./route/cases.ts";
import { runOnSockets } from "./route/on-sockets.ts";

/** `undefined` is the offloader. */
const policies: readonly (readonly [string, PickerKind | undefined])[] = [
  ["round robin", roundRobin],
  ["weighted round robin", weightedRoundRobin],
  ["least request", leastRequest],
  ["peak EWMA", peakEwma],
  ["client-side weighted", clientWeighted],
  ["Prequal", prequal],
  ["fresh reports", freshReports],
  ["ours", undefined],
  ["oracle", fleetOracle],
];

/** For so long each policy is measured over sockets, in seconds. */
const socketSeconds = { whole: 6, quick: 3 } as const;

/** The state of the fleet for the run of a policy. */
type Played = Pick<FleetRun, "tookMs"> & Partial<FleetRun> & { readonly givenUp?: number };

interface Summary {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly goodRatio: number;
  /** Requests that failed. */
  readonly failed: number;
  /** Requests that waited when the run was over; their times are what they had waited. */
  readonly givenUp: number;
}

/** The first tenth fills queues and teaches those who learn; it does not count. */
function summarise({ tookMs, givenUp = 0 }: Played, deadlineMs: number): Summary {
  const counted = tookMs.slice(Math.floor(tookMs.length / 10));
  return {
    p50Ms: quantile(counted, 0.5),
    p99Ms: quantile(counted, 0.99),
    goodRatio: counted.filter((took) => took <= deadlineMs).length / counted.length,
    failed: tookMs.filter((took) => took === Infinity).length,
    givenUp,
  };
}

/** How many requests a case has. */
function countOf({ perSecond, servers }: Case, quick: boolean): number {
  if (perSecond !== undefined) return Math.round(perSecond * socketSeconds[quick ? "quick" : "whole"]);
  return quick ? 6000 : servers > 100 ? 60_000 : 30_000;
}

/** Which cases are run: all, those of one kind (`--simulated`, `--sockets`), or by name (`--case NAME`, repeated). */
function chosen(args: readonly string[]): readonly Case[] {
  const all = [...simulated, ...onSockets].filter(
    ({ perSecond }) => !args.includes(perSecond === undefined ? "--sockets" : "--simulated"),
  );
  const names = args.flatMap((arg, at) => (arg === "--case" ? [args[at + 1] ?? ""] : []));
  if (names.length === 0) return args.includes("--quick") ? all.filter(({ servers }) => servers <= 16) : all;
  const unknown = names.find((name) => !all.some((one) => one.name === name));
  if (unknown !== undefined) {
    throw new Error(`--case ${unknown}: there is none; there are ${all.map(({ name }) => name).join("; ")}`);
  }
  return all.filter(({ name }) => names.includes(name));
}

async function run(context: BenchContext): Promise<Measured> {
  const { say, seed, args, data } = context;
  const rows: Row[] = [];
  const notRun: string[] = [];
  const p99 = new Map<string, number>();
  const cases = chosen(args);
  for (const one of cases) {
    const count = countOf(one, args.includes("--quick"));
    const prepared: PreparedScene | undefined = sceneOf(data, one, count, seed);
    if (!prepared) {
      notRun.push(`${one.name}: the arrival trace is in the data folder`);
      continue;
    }
    const { scene, deadlineMs } = prepared;
    say(
      `${one.name}: ${one.servers} servers, ${one.skew}x skew, ${one.bound}, ${one.loadRatio} load, ${one.gateways} gateway(s), ${count} requests${one.perSecond === undefined ? "" : " over HTTP, runs sleep"}`,
    );
    for (const [name, kind] of policies) {
      // Neither the servers' state at the moment of choice nor the oracle's knowledge can be had over sockets.
      if (one.perSecond !== undefined && kind === freshReports) continue;
      const played: Played = await (one.perSecond === undefined ? runFleet : runOnSockets)(scene, kind);
      const summary = summarise(played, deadlineMs);
      p99.set(`${one.name}/${name}`, summary.p99Ms);
      rows.push({
        case: one.name,
        policy: name,
        sockets: one.perSecond !== undefined,
        ...summary,
        realMs: played.realMsPerRequest ?? null,
        probesPerRequest: played.probesPerRequest ?? null,
        refusedPerRequest: played.refusedPerRequest ?? null,
      });
      say(
        `  ${name.padEnd(21)} p50 ${summary.p50Ms.toFixed(1).padStart(7)}  p99 ${summary.p99Ms.toFixed(1).padStart(9)} ms  goodput ${(100 * summary.goodRatio).toFixed(2)} %${summary.failed > 0 ? `  ${summary.failed} failed` : ""}${summary.givenUp > 0 ? `  ${summary.givenUp} still waited` : ""}`,
      );
    }
  }
  return { figures: figuresOf(cases, p99), rows, notRun };
}

/** Figures of the cases that were run. */
function figuresOf(cases: readonly Case[], p99: ReadonlyMap<string, number>): Record<string, number> {
  const ratio = (of: string, a: string, b: string): number =>
    (p99.get(`${of}/${a}`) ?? NaN) / (p99.get(`${of}/${b}`) ?? NaN);
  const worst = (among: readonly Case[]): number =>
    Math.max(...among.map(({ name }) => ratio(name, "ours", "oracle")));
  const ran = cases.filter(({ name }) => p99.has(`${name}/ours`));
  const shared = ran.filter(({ batching }) => batching !== undefined);
  const skewed = ran.filter(({ skew, batching }) => skew > 1 && batching === undefined);
  const inside = skewed.filter(({ perSecond }) => perSecond === undefined);
  const outside = skewed.filter(({ perSecond }) => perSecond !== undefined);
  const alone = ({ gateways, sizes }: Case): boolean => gateways === 1 && sizes === "shown";
  const figures: Record<string, number> = {
    p99VsOracleSkewed: worst(inside.filter(alone)),
    p99VsOracleSizesHidden: worst(inside.filter(({ sizes }) => sizes === "hidden")),
    p99VsOracleSeveralGateways: worst(inside.filter(({ gateways }) => gateways > 1)),
    p99VsOracleSharedRuns: worst(shared),
    p99VsOracleSockets: worst(outside.filter(alone)),
    p99VsOracleSocketsSeveralGateways: worst(outside.filter(({ gateways }) => gateways > 1)),
    roundRobinVsOursSkewed: Math.min(
      ...skewed
        .filter(({ skew, loadRatio }) => skew === 16 && loadRatio === 0.7)
        .map(({ name }) => ratio(name, "round robin", "ours")),
    ),
    oursVsRoundRobinEqual: ratio("small and equal", "ours", "round robin"),
    oursVsRoundRobinEqualSockets: ratio("sockets: small and equal", "ours", "round robin"),
  };
  // A figure that no case of this run gives is left out.
  return Object.fromEntries(Object.entries(figures).filter(([, value]) => Number.isFinite(value)));
}

/** Ways to balance between servers, on the same requests. */
export const bench: Bench = {
  name: "route",
  about:
    "which of many servers: ours beside six balancers and an oracle that sees all queues, simulated and over sockets",
  options: ["--simulated", "--sockets", "--case NAME", "--quick"],
  bars: {
    p99VsOracleSkewed: { atMost: 1.15 },
    roundRobinVsOursSkewed: { atLeast: 3 },
    oursVsRoundRobinEqual: { atMost: 1.05 },
  },
  run,
};
