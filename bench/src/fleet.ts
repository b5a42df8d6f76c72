/**
 * `bench route --part fleet`: what very many servers and devices cost one router. Devices have a link, a site, a zone limit and one of three models. Servers join, renew, leave
 * and fall silent; a hundred are a site, ten sites a region. The time of a decision is the processor time of a request less that of the same simulation with randomly
 * chosen servers. The oracle sees all queues (not in the largest fleet).
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { joinAndLeave } from "./pickers/join-and-leave.ts";
import { type DeviceRouter, type DeviceRun, type DeviceScene, runDevices } from "./pickers/run-devices.ts";
import { deviceScene } from "./fleet/devices.ts";
import {
  type DirectoryFigures,
  directoryHere,
  directoryOnSockets,
  directoryWords,
} from "./fleet/directory.ts";
import { type Bench, type BenchContext, type Measured, numberOf, quantile, type Row } from "./harness.ts";

/** Fleets by number of servers; of each ten devices for each server. */
const sizes: readonly number[] = [100, 1000, 10_000];
const devicesPerServer = 10;
/**
 * About how many requests one run has by default: enough to measure the time of one, which falls while code is compiled and
 * servers are learned. In the largest fleet only some devices send requests. With it the bench takes about a minute and a half
 * of processor time.
 */
const usualRequests = 3000;
/** Sequences that are under way where memory for each device is measured. */
const servedAt = 200;
const onSockets = 200;

/** All of the heap that is still reached. */
function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect === "function") collect();
  return process.memoryUsage().heapUsed;
}

/** Slope of a line through the logarithms. */
function growth(points: readonly (readonly [number, number])[]): number {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)] as const);
  const mean = (of: 0 | 1): number => logs.reduce((total, one) => total + one[of], 0) / logs.length;
  const [x, y] = [mean(0), mean(1)];
  const shared = logs.reduce((total, one) => total + (one[0] - x) * (one[1] - y), 0);
  return shared / logs.reduce((total, one) => total + (one[0] - x) ** 2, 0);
}

const p99 = ({ routedMs }: DeviceRun): number => quantile(routedMs, 0.99);
const failedOf = ({ failed }: DeviceRun): number =>
  Object.values(failed).reduce((total, count) => total + count, 0);

/** Failures of devices, in words; empty without any. */
function troubleOf(run: DeviceRun): string {
  const failed = Object.entries(run.failed).map(([reason, count]) => `${count} ${reason}`);
  if (run.wrongSteps > 0) failed.push(`${run.wrongSteps} wrong steps`);
  if (run.outside > 0) failed.push(`${run.outside} outside their zones`);
  return failed.join(", ");
}

function directoryRow(endpoints: number, how: string, figures: DirectoryFigures): Row {
  const perSecond = directoryWords.map((word) => [word, 1000 / figures.processorMs[word]] as const);
  return {
    endpoints,
    how,
    ...Object.fromEntries(perSecond.map(([word, rate]) => [`${word}PerSecond`, rate])),
    seenMs: figures.seenMs,
    bytesPerEndpoint: figures.bytesPerEndpoint ?? NaN,
  };
}

/** Runs scenes and says after each tenth how far it is: runs of large fleets take minutes where others have the processor. */
function teller(say: (line: string) => void) {
  const beganMs = performance.now();
  return (what: string, router: DeviceRouter, scene: DeviceScene, weighed = true): Promise<DeviceRun> =>
    runDevices(scene, router, {
      ...(weighed ? { heapBytes } : {}),
      progress(asked, doneRatio) {
        const { user, system } = process.cpuUsage();
        say(
          `    ${what}, ${router}: ${(100 * doneRatio).toFixed(0)} %, ${asked} requests; so far ${((performance.now() - beganMs) / 1000).toFixed(0)} s, ${((user + system) / 1e6).toFixed(0)} of the processor's, ${(process.memoryUsage().rss / 1e6).toFixed(0)} MB`,
        );
      },
    });
}

async function run({ say, seed, args }: BenchContext): Promise<Measured> {
  const quick = args.includes("--quick");
  const requests = numberOf(args, "requests", quick ? 2000 : usualRequests);
  const runTold = teller(say);
  const rows: Row[] = [];
  const times: [number, number][] = [];
  const wrong = { failed: 0, wrongSteps: 0, outside: 0 };
  let largest: Row = {};
  for (const servers of quick ? [100, 1000] : sizes) {
    const devices = servers * devicesPerServer;
    const scene = deviceScene(servers, devices, requests, seed);
    const what = `${servers} servers`;
    // The cost of the simulation itself is the same for a router without any thought.
    const idle = await runTold(what, "drawn", scene);
    const ours = await runTold(what, "ours", scene);
    // The oracle reads every queue for every request: in the largest fleet that takes longer than all other work.
    const best = servers > 1000 ? undefined : await runTold(what, "oracle", scene, false);
    const decisionMs = ours.realMsPerRequest - idle.realMsPerRequest;
    say(`    ${what}: joins and leaves`);
    const changeMs = await joinAndLeave(servers, quick ? 10 : 30);
    times.push([servers, decisionMs]);
    wrong.failed += failedOf(ours);
    wrong.wrongSteps += ours.wrongSteps;
    wrong.outside += ours.outside;
    largest = {
      servers,
      devices,
      requests: ours.requests,
      asked: ours.asked,
      steps: ours.steps,
      ...ours.moves,
      ...ours.messages,
      decisionMs,
      decisionsPerSecond: 1000 / decisionMs,
      bytesPerEndpoint: ((ours.heapBytes ?? NaN) - (idle.heapBytes ?? NaN)) / servers,
      changesPerSecond: 1000 / changeMs,
      p99Ms: p99(ours),
      p99VsOracle: best ? p99(ours) / p99(best) : NaN,
    };
    rows.push(largest);
    const trouble = troubleOf(ours);
    say(
      `${String(servers).padStart(6)} servers, ${devices} devices, ${ours.asked} of them asked ${ours.requests} times: ${(1000 * decisionMs).toFixed(0)} us a request beside ${(1000 * idle.realMsPerRequest).toFixed(0)} of the simulation, ${(Number(largest["bytesPerEndpoint"]) / 1000).toFixed(1)} kB an endpoint, ${Number(largest["changesPerSecond"]).toFixed(0)} changes of the set of endpoints a second, p99 ${p99(ours).toFixed(0)} ms${best ? `, ${(p99(ours) / p99(best)).toFixed(2)} of the oracle's` : ""}${trouble ? `: ${trouble}` : ""}`,
    );
  }
  // The same servers before more devices: measures what each leaves in the router.
  const [few, many] = quick ? [500, 2000] : [1000, 8000];
  const held = async (devices: number): Promise<number> => {
    const scene = deviceScene(servedAt, devices, 3 * devices * 0.093, seed);
    const ours = await runTold(`${devices} devices`, "ours", scene);
    const idle = await runTold(`${devices} devices`, "drawn", scene);
    return (ours.heapBytes ?? NaN) - (idle.heapBytes ?? NaN);
  };
  const bytesPerDevice = ((await held(many)) - (await held(few))) / (many - few);
  say(`${servedAt} servers before ${few} and ${many} devices: ${bytesPerDevice.toFixed(0)} B a device`);
  const endpoints = quick ? 1000 : 10_000;
  say(`    directory of ${endpoints} endpoints in the process, then one over HTTP`);
  const here = await directoryHere(endpoints, quick ? 50 : 100, heapBytes);
  const sockets = await directoryOnSockets(quick ? 50 : onSockets, quick ? 50 : onSockets);
  for (const [count, how, figures] of [
    [endpoints, "in a gateway's process", here],
    [quick ? 50 : onSockets, "over HTTP", sockets],
  ] as const) {
    const row = directoryRow(count, how, figures);
    rows.push(row);
    say(
      `directory of ${count} signed entries, ${how}: ${directoryWords.map((word) => `${(1000 / figures.processorMs[word]).toFixed(0)} ${word}s`).join(", ")} a second of processor time, seen after ${figures.seenMs.toFixed(1)} ms${figures.bytesPerEndpoint === undefined ? "" : `, ${figures.bytesPerEndpoint.toFixed(0)} B an endpoint`}`,
    );
  }
  return {
    figures: {
      growthExponent: growth(times),
      ...wrong,
      decisionsPerSecond: Number(largest["decisionsPerSecond"]),
      bytesPerEndpoint: Number(largest["bytesPerEndpoint"]),
      bytesPerDevice,
      directoryChangesPerSecond: 1000 / here.processorMs.change,
      directoryRenewalsPerSecond: 1000 / here.processorMs.renewal,
      processorSeconds: (({ user, system }) => (user + system) / 1e6)(process.cpuUsage()),
      mostResidentMegabytes: process.resourceUsage().maxRSS / 1000,
      p99VsOracleAt1000: Number(rows.find((row) => row["servers"] === 1000)?.["p99VsOracle"]),
    },
    rows,
  };
}

/** One router over ever more servers and devices. */
export const bench: Bench = {
  name: "fleet",
  about:
    "one router over 100 to 10,000 servers that come and go and ten times as many devices, simulated: time, memory and messages",
  options: ["--quick", "--requests N"],
  bars: {
    growthExponent: { atMost: 0.5 },
    failed: { atMost: 0 },
    wrongSteps: { atMost: 0 },
    outside: { atMost: 0 },
  },
  run,
};
