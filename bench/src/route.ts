import { exponential, type Random, seededRandom } from "@longshore/core";
import {
  clientWeighted,
  type FarmRequest,
  fleetOracle,
  freshReports,
  type FleetRun,
  type FleetScene,
  type FarmServer,
  leastRequest,
  peakEwma,
  type PickerKind,
  poissonArrivals,
  prequal,
  roundRobin,
  runFleet,
  weightedRoundRobin,
} from "@longshore/lab";
import { type Bench, type BenchContext, type Measured, quantile, type Row } from "./harness.ts";
import { burstyArrivals } from "./route-arrivals.ts";

/** Mean work of a request, in milliseconds on a server of speed 1. */
const meanWorkMs = 200;
/** Spread of the work, as a standard deviation of the logarithm: some inputs are larger. */
const workLogSpread = 0.4;
/** What of that spread nothing of the input shows, where sizes show: runs of the same input differ by so much. */
const jitterLogSpread = 0.1;
/** Buckets of size that a profile distinguishes where sizes show. */
const sizeCount = 8;
/** An answer after this is worthless, in milliseconds; the slowest server has speed 1. */
const deadlineMs = 5 * meanWorkMs;

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

/** One kind of fleet under one kind of load. */
interface Case {
  readonly name: string;
  readonly servers: number;
  /** The fastest server's speed over the slowest's; speeds between lie evenly on a logarithmic scale. */
  readonly skew: number;
  readonly bound: "processor" | "waiting";
  readonly loadRatio: number;
  readonly arrivals: "poisson" | "bursty";
  /** Gateways that do not know of each other's requests. */
  readonly gateways: number;
  /** Whether an input shows by its size what it will cost, as that of a convolution does, or all look alike. */
  readonly sizes: "shown" | "hidden";
}

const base = {
  bound: "processor",
  loadRatio: 0.7,
  arrivals: "poisson",
  gateways: 1,
  sizes: "shown",
} as const;

const cases: readonly Case[] = [
  { ...base, name: "small and equal", servers: 4, skew: 1 },
  { ...base, name: "equal", servers: 16, skew: 1 },
  { ...base, name: "small, 4x", servers: 4, skew: 4 },
  { ...base, name: "4x", servers: 16, skew: 4 },
  { ...base, name: "16x", servers: 16, skew: 16 },
  { ...base, name: "16x, waiting", servers: 16, skew: 16, bound: "waiting" },
  { ...base, name: "16x, bursty", servers: 16, skew: 16, loadRatio: 0.5, arrivals: "bursty" },
  { ...base, name: "16x, sizes hidden", servers: 16, skew: 16, sizes: "hidden" },
  { ...base, name: "16x, 4 gateways", servers: 16, skew: 16, gateways: 4 },
  { ...base, name: "equal, 4 gateways", servers: 16, skew: 1, gateways: 4 },
  { ...base, name: "100, 16x", servers: 100, skew: 16 },
  { ...base, name: "100, 16x, 4 gateways", servers: 100, skew: 16, gateways: 4 },
  { ...base, name: "1000, 16x", servers: 1000, skew: 16 },
];

function serversOf({ servers, skew, bound }: Case): readonly FarmServer[] {
  const slots = bound === "processor" ? 1 : 32;
  return Array.from({ length: servers }, (_, index) => ({
    speed: servers === 1 ? 1 : skew ** (index / (servers - 1)),
    slots,
  }));
}

/** A standard normal number (Box and Muller). */
function normal(random: Random): number {
  return Math.sqrt(2 * exponential(random, 1)) * Math.cos(2 * Math.PI * random.next());
}

function sceneOf(context: BenchContext, one: Case, count: number, seed: number): FleetScene | undefined {
  const servers = serversOf(one);
  const capacityPerMs = servers.reduce((total, { speed, slots }) => total + speed * slots, 0) / meanWorkMs;
  const perSecond = capacityPerMs * 1000 * one.loadRatio;
  const arrivals =
    one.arrivals === "poisson"
      ? poissonArrivals(perSecond, count, seed)
      : burstyArrivals(context.data, perSecond, count, seed);
  if (!arrivals) return undefined;
  const random = seededRandom(seed + 1);
  const requests = arrivals.map(() => requestOf(one, random));
  return { servers, gateways: one.gateways, arrivals, requests, seed };
}

function requestOf({ sizes }: Case, random: Random): FarmRequest {
  const visible = normal(random);
  const jitter = sizes === "shown" ? jitterLogSpread : 0;
  const spread = Math.sqrt(workLogSpread ** 2 - jitter ** 2);
  const workMs = meanWorkMs * Math.exp(spread * visible + jitter * normal(random) - workLogSpread ** 2 / 2);
  return { workMs, size: sizes === "shown" ? sizeOf(visible) : 1 };
}

/** The bucket of a standard normal number, 1 to `sizeCount`: as wide as each other but for the outer ones. */
function sizeOf(visible: number): number {
  return 1 + Math.min(sizeCount - 1, Math.max(0, Math.floor(visible / 0.6 + sizeCount / 2)));
}

interface Summary {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly goodRatio: number;
}

/** The first tenth fills queues and teaches those who learn; it does not count. */
function summarise({ tookMs }: FleetRun): Summary {
  const counted = tookMs.slice(Math.floor(tookMs.length / 10));
  return {
    p50Ms: quantile(counted, 0.5),
    p99Ms: quantile(counted, 0.99),
    goodRatio: counted.filter((took) => took <= deadlineMs).length / counted.length,
  };
}

async function run(context: BenchContext): Promise<Measured> {
  const { say, seed, args } = context;
  const quick = args.includes("--quick");
  const rows: Row[] = [];
  const notRun: string[] = [];
  const p99 = new Map<string, number>();
  for (const one of cases) {
    if (quick && one.servers > 16) continue;
    const count = quick ? 6000 : one.servers > 100 ? 60_000 : 30_000;
    const scene = sceneOf(context, one, count, seed);
    if (!scene) {
      notRun.push(`${one.name}: the arrival trace is in the data folder`);
      continue;
    }
    say(
      `${one.name}: ${one.servers} servers, ${one.skew}x skew, ${one.bound}, ${one.loadRatio} load, ${one.gateways} gateway(s), ${count} requests`,
    );
    for (const [name, kind] of policies) {
      const result = await runFleet(scene, kind);
      const { p50Ms, p99Ms, goodRatio } = summarise(result);
      p99.set(`${one.name}/${name}`, p99Ms);
      rows.push({
        case: one.name,
        policy: name,
        p50Ms,
        p99Ms,
        goodRatio,
        realMs: result.realMsPerRequest,
        probesPerRequest: result.probesPerRequest,
      });
      say(
        `  ${name.padEnd(21)} p50 ${p50Ms.toFixed(1).padStart(7)}  p99 ${p99Ms.toFixed(1).padStart(9)} ms  goodput ${(100 * goodRatio).toFixed(2)} %`,
      );
    }
  }
  const ratio = (of: string, a: string, b: string): number =>
    (p99.get(`${of}/${a}`) ?? NaN) / (p99.get(`${of}/${b}`) ?? NaN);
  const skewed = (gateways: boolean, sizes: Case["sizes"] = "shown"): readonly Case[] =>
    cases.filter(
      (one) =>
        one.skew > 1 && one.gateways > 1 === gateways && one.sizes === sizes && p99.has(`${one.name}/ours`),
    );
  return {
    figures: {
      p99VsOracleSkewed: Math.max(...skewed(false).map(({ name }) => ratio(name, "ours", "oracle"))),
      p99VsOracleSizesHidden: Math.max(
        ...skewed(false, "hidden").map(({ name }) => ratio(name, "ours", "oracle")),
      ),
      p99VsOracleSeveralGateways: Math.max(...skewed(true).map(({ name }) => ratio(name, "ours", "oracle"))),
      roundRobinVsOursSkewed: Math.min(
        ...[...skewed(false), ...skewed(true)]
          .filter(({ skew, loadRatio }) => skew === 16 && loadRatio === 0.7)
          .map(({ name }) => ratio(name, "round robin", "ours")),
      ),
      oursVsRoundRobinEqual: ratio("small and equal", "ours", "round robin"),
    },
    rows,
    notRun,
  };
}

/** Ways to balance between servers, on the same requests. */
export const bench: Bench = {
  name: "route",
  about: "which of many servers: ours beside six balancers and an oracle that sees all queues, simulated",
  bars: {
    p99VsOracleSkewed: { atMost: 1.15 },
    roundRobinVsOursSkewed: { atLeast: 3 },
    oursVsRoundRobinEqual: { atMost: 1.05 },
  },
  run,
};
