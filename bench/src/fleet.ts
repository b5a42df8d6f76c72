import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { exponential, seededRandom } from "@longshore/core";
import {
  fleetOracle,
  type FleetRun,
  type FleetScene,
  joinAndLeave,
  poissonArrivals,
  roundRobin,
  runFleet,
} from "@longshore/lab";
import { type Bench, type BenchContext, type Measured, quantile, type Row } from "./harness.ts";

/** Fleets by number of servers; of each ten devices for each server, of which each asks once in ten seconds. */
const sizes: readonly number[] = [100, 1000, 10_000];
const devicesPerServer = 10;
const secondsBetween = 10;
const skew = 16;
const loadRatio = 0.7;
/** Requests of one run: enough to know the time of one, and in the largest fleet to fill its queues. */
const leastRequests = 12_000;
const requestsPerServer = 3;

function sceneOf(servers: number, seed: number): FleetScene {
  const speeds = Array.from({ length: servers }, (_, index) => skew ** (index / (servers - 1)));
  const perSecond = (servers * devicesPerServer) / secondsBetween;
  const capacity = speeds.reduce((total, speed) => total + speed, 0);
  const meanWorkMs = (loadRatio * capacity * 1000) / perSecond;
  const count = Math.max(leastRequests, requestsPerServer * servers);
  const arrivals = poissonArrivals(perSecond, count, seed);
  const random = seededRandom(seed + 1);
  return {
    servers: speeds.map((speed) => ({ speed, slots: 1 })),
    gateways: 1,
    arrivals,
    requests: arrivals.map(() => {
      const size = 1 + Math.floor(8 * random.next());
      const share = 0.8 + exponential(random, 0.2);
      return { workMs: (meanWorkMs * share * (4 + size)) / 8.5, size };
    }),
    seed,
  };
}

/** All of the heap that is still reached. */
function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect === "function") collect();
  return process.memoryUsage().heapUsed;
}

function p99({ tookMs }: FleetRun): number {
  return quantile(tookMs.slice(Math.floor(tookMs.length / 3)), 0.99);
}

/** Slope of a line through the logarithms. */
function growth(points: readonly (readonly [number, number])[]): number {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)] as const);
  const mean = (of: 0 | 1): number => logs.reduce((total, one) => total + one[of], 0) / logs.length;
  const [x, y] = [mean(0), mean(1)];
  const shared = logs.reduce((total, one) => total + (one[0] - x) * (one[1] - y), 0);
  return shared / logs.reduce((total, one) => total + (one[0] - x) ** 2, 0);
}

async function run({ say, seed, args }: BenchContext): Promise<Measured> {
  const rows: Row[] = [];
  const times: [number, number][] = [];
  let largest: Row = {};
  for (const servers of args.includes("--quick") ? [100, 1000] : sizes) {
    const scene = sceneOf(servers, seed);
    // What the simulation itself takes is the same for a router that takes no thought at all: before and after.
    const before = await runFleet(scene, roundRobin);
    const ours = await runFleet(scene, undefined, heapBytes);
    const after = await runFleet(scene, roundRobin);
    // The oracle looks at every queue for every request: in the largest fleet that takes longer than everything else.
    const best = servers > 1000 ? undefined : await runFleet(scene, fleetOracle);
    const idleMs = (before.realMsPerRequest + after.realMsPerRequest) / 2;
    const decisionMs = ours.realMsPerRequest - idleMs;
    const changeMs = await joinAndLeave(servers, 50);
    times.push([servers, decisionMs]);
    largest = {
      servers,
      devices: servers * devicesPerServer,
      requests: scene.arrivals.length,
      decisionMs,
      decisionsPerSecond: 1000 / decisionMs,
      bytesPerEndpoint: (ours.heapBytes ?? NaN) / servers,
      askedPerSecond: (ours.asked / (scene.arrivals.at(-1) ?? NaN)) * 1000,
      directoryMessagesPerSecond: 1000 / changeMs,
      p99Ms: p99(ours),
      p99VsOracle: best ? p99(ours) / p99(best) : NaN,
    };
    rows.push(largest);
    say(
      `${String(servers).padStart(6)} servers, ${servers * devicesPerServer} devices: ${(1000 * decisionMs).toFixed(0)} us a request beside ${(1000 * idleMs).toFixed(0)} of the simulation, ${(Number(largest["bytesPerEndpoint"]) / 1000).toFixed(1)} kB an endpoint, ${Number(largest["askedPerSecond"]).toFixed(0)} questions a second, ${Number(largest["directoryMessagesPerSecond"]).toFixed(0)} changes of the directory a second, p99 ${p99(ours).toFixed(0)} ms${best ? `, ${(p99(ours) / p99(best)).toFixed(2)} of the oracle's` : ""}`,
    );
  }
  return {
    figures: {
      growthExponent: growth(times),
      decisionsPerSecond: Number(largest["decisionsPerSecond"]),
      bytesPerEndpoint: Number(largest["bytesPerEndpoint"]),
      directoryMessagesPerSecond: Number(largest["directoryMessagesPerSecond"]),
      askedPerSecond: Number(largest["askedPerSecond"]),
      p99VsOracleAt1000: Number(rows.find((row) => row["servers"] === 1000)?.["p99VsOracle"]),
    },
    rows,
  };
}

/** One router over ever more servers and devices. */
export const bench: Bench = {
  name: "fleet",
  about:
    "one router over 100 to 10,000 servers and ten times as many devices, simulated: time, memory and messages",
  options: ["--quick"],
  bars: { growthExponent: { atMost: 0.5 } },
  run,
};
