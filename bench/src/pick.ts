import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type EnvoyPolicy, startEnvoy, startPickedEnvoy, Unavailable } from "@longshore/conformance";
import { seededRandom } from "@longshore/core";
import type { FarmServer } from "@longshore/lab";
import {
  type Bench,
  type BenchContext,
  chosenOf,
  type Measured,
  medianInterval,
  numberOf,
  quantile,
  type Row,
} from "./harness.ts";
import { type Arrival, drive } from "./pick/drive.ts";
import { silentFigures } from "./pick/silent.ts";
import { simulatePicks } from "./pick/simulated.ts";
import { watchFigures } from "./pick/watch.ts";
import type { FarmOrder } from "./route/farm-process.ts";

/*
 * Four servers of unequal speed behind Envoy, and one choice among them at a time: Envoy's own policies, and the picker. The servers speak
 * the protocol over real sockets; a run holds one of two slots for its time and uses no processor, so that the machine is not what is
 * measured. Arrivals are a Poisson process at 60 % of the capacity of all servers together, the same for every subject of a round.
 *
 * The choices are compared on a virtual clock first. On a busy machine the times through sockets show how long each process waited for a
 * processor, and the picker is one process more than Envoy alone.
 */

const skews = [1, 4, 16] as const;
/** Share of the capacity of all servers. */
const utilisation = 0.6;
/** The same with a server or a picker stopped: the others have room for its share. */
const silentUtilisation = 0.25;
const slots = 2;
/** Mean time of a run on the quickest server, and the spread of its logarithm. */
const meanMs = 50;
const logSpread = 0.5;
/** Requests before those that count, in milliseconds of a run. */
const warmMs = 2000;

const policies: readonly EnvoyPolicy[] = ["round robin", "least request", "weighted by load reports"];
const picked = "longshore pick";

interface Subject {
  readonly name: string;
  readonly port: number;
}

function speedsOf(skew: number): readonly number[] {
  return Array.from({ length: 4 }, (_, index) => skew ** (-index / 3));
}

function arrivalsOf(
  seed: number,
  skew: number,
  forMs: number,
  most = Infinity,
  ratio: number = utilisation,
): readonly Arrival[] {
  const random = seededRandom(seed);
  const normal = (): number =>
    Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
  const capacityPerMs = speedsOf(skew).reduce((sum, speed) => sum + (speed * slots) / meanMs, 0);
  const arrivals: Arrival[] = [];
  for (let atMs = 0; ;) {
    atMs -= Math.log(1 - random.next()) / (capacityPerMs * ratio);
    if (atMs > forMs || arrivals.length >= most) return arrivals;
    arrivals.push({ atMs, workMs: meanMs * Math.exp(logSpread * normal() - logSpread ** 2 / 2) });
  }
}

async function startFarm(
  servers: readonly FarmServer[],
  seed: number,
): Promise<readonly [ChildProcess, readonly string[]]> {
  const farm = fork(fileURLToPath(new URL("./route/farm-process.js", import.meta.url)));
  const requests = arrivalsOf(seed, 1, 20_000).map(({ workMs }) => ({ workMs, size: 1 }));
  const order: FarmOrder = { servers, requests };
  farm.send(order);
  const [told] = (await once(farm, "message")) as [unknown];
  if (!Array.isArray(told)) throw new Error("the servers did not start");
  return [farm, told.map(String)];
}

interface Opened {
  readonly subjects: readonly Subject[];
  readonly pickerPid: number;
  close(): Promise<void>;
}

async function openSubjects(addresses: readonly string[], folder: string): Promise<Opened> {
  const upstreams = addresses.map((one) => new URL(one).host);
  const opened: { close(): Promise<void> }[] = [];
  const close = async (): Promise<void> => void (await Promise.all(opened.map((one) => one.close())));
  const portOf = ({ http }: { readonly http: string }): number => Number(http.split(":")[1]);
  const subjects: Subject[] = [];
  try {
    for (const policy of policies) {
      const proxy = await startEnvoy({ upstreams, folder: mkdtempSync(join(folder, "envoy-")), policy });
      opened.push(proxy);
      subjects.push({ name: policy, port: portOf(proxy) });
    }
    const args = [...addresses.flatMap((one) => ["--at", one]), "--data-class", "public"];
    const pick = await startPickedEnvoy({ args, folder: mkdtempSync(join(folder, "pick-")) });
    opened.push(pick);
    subjects.push({ name: picked, port: portOf(pick) });
    return { subjects, pickerPid: pick.pickerPid, close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}

/** Requests before anything is measured, so that programs run the code that their compilers have made of what is hot. */
const warmUp = 600;

async function warm(subjects: readonly Subject[]): Promise<void> {
  const quick = Array.from({ length: warmUp }, () => ({ atMs: 0, workMs: 0.01 }));
  for (const { port } of subjects) await drive(port, quick, 8);
}

/** Processor time of a process so far, in milliseconds, where the system tells it in hundredths of a second. */
function processorMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Times of requests one after another, without work: the cost of the way. */
async function measureAdded(
  subjects: readonly Subject[],
  rounds: number,
): Promise<ReadonlyMap<string, number[]>> {
  const p50s = new Map<string, number[]>(subjects.map(({ name }) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const { name, port } of round % 2 === 0 ? subjects : subjects.toReversed()) {
      const { tookMs } = await drive(
        port,
        Array.from({ length: 80 }, () => ({ atMs: 0, workMs: 0.01 })),
        1,
      );
      p50s.get(name)?.push(quantile(tookMs.slice(20), 0.5));
    }
  }
  return p50s;
}

/** Requests of a run on the virtual clock. */
const simulatedRequests = 10_000;

/** The choices alone: p99 of the picker over the best of Envoy's policies, by skew. */
async function simulate(
  say: BenchContext["say"],
  seed: number,
  rows: Row[],
): Promise<Readonly<Record<string, number>>> {
  const ratios = new Map<number, number>();
  for (const skew of skews) {
    const servers = speedsOf(skew).map((speed) => ({ speed, slots }));
    const arrivals = arrivalsOf(seed, skew, Infinity, simulatedRequests);
    const played = await simulatePicks(servers, arrivals, seed);
    for (const { subject, p50Ms, p99Ms } of played) {
      rows.push({ simulated: true, skew, subject, p50Ms, p99Ms });
      say(
        `virtual clock, skew ${skew} ${subject.padEnd(24)} p50 ${p50Ms.toFixed(0)} ms  p99 ${p99Ms.toFixed(0)} ms`,
      );
    }
    const of = (name: string): number => played.find(({ subject }) => subject === name)?.p99Ms ?? NaN;
    ratios.set(skew, of(picked) / Math.min(...policies.map(of)));
  }
  const skewed = [...ratios].flatMap(([skew, ratio]) => (skew > 1 ? [ratio] : []));
  return { simulatedP99VsBest1: ratios.get(1) ?? NaN, simulatedP99VsBestSkewed: Math.max(...skewed) };
}

const parts = ["choice", "pods", "silent"] as const;

async function run(context: BenchContext): Promise<Measured> {
  const { say, seed, args } = context;
  const chosen = chosenOf(args, "part", parts) ?? parts;
  const rounds = numberOf(args, "rounds", 3);
  const runMs = 1000 * numberOf(args, "seconds", 8);
  const pods = numberOf(args, "pods", 10_000);
  const folder = mkdtempSync(join(tmpdir(), "longshore-bench-pick-"));
  const figures: Record<string, number> = {};
  const rows: Row[] = [];
  const notRun: string[] = [];
  const random = seededRandom(seed);
  const draw = (): number => random.next();
  const ratios: number[] = [];
  say(`load average ${loadavg()[0]?.toFixed(1)} on ${cpus().length} processors`);
  if (chosen.includes("choice")) Object.assign(figures, await simulate(say, seed, rows));
  try {
    if (chosen.includes("silent")) {
      const arrivals = (forMs: number): readonly Arrival[] =>
        arrivalsOf(seed, 1, forMs, Infinity, silentUtilisation);
      Object.assign(figures, await silentFigures(context, arrivals, folder, rows));
    }
    for (const skew of chosen.includes("choice") ? skews : []) {
      const [farm, addresses] = await startFarm(
        speedsOf(skew).map((speed) => ({ speed, slots })),
        seed,
      );
      let opened: Opened | undefined;
      try {
        opened = await openSubjects(addresses, folder);
        const { subjects, pickerPid } = opened;
        await warm(subjects);
        const p99s = new Map<string, number[]>(subjects.map(({ name }) => [name, []]));
        for (let round = 0; round < rounds; round++) {
          const arrivals = arrivalsOf(seed + round, skew, warmMs + runMs);
          for (const { name, port } of round % 2 === 0 ? subjects : subjects.toReversed()) {
            const { tookMs, failed } = await drive(port, arrivals);
            const counted = tookMs.filter((_, index) => (arrivals[index]?.atMs ?? 0) >= warmMs);
            const row = {
              skew,
              round,
              subject: name,
              requests: counted.length,
              failed,
              p50Ms: quantile(counted, 0.5),
              p95Ms: quantile(counted, 0.95),
              p99Ms: quantile(counted, 0.99),
            };
            rows.push(row);
            p99s.get(name)?.push(row.p99Ms);
            say(
              `skew ${skew} round ${round} ${name.padEnd(24)} p50 ${row.p50Ms.toFixed(0)} ms  p95 ${row.p95Ms.toFixed(0)} ms  p99 ${row.p99Ms.toFixed(0)} ms  failed ${failed} of ${arrivals.length}`,
            );
          }
        }
        const medianOf = (name: string): number => medianInterval(p99s.get(name) ?? [], draw).median;
        const best = policies.map((name) => [medianOf(name), name] as const).sort((a, b) => a[0] - b[0])[0];
        if (best) {
          const ratio = medianOf(picked) / best[0];
          say(
            `skew ${skew}: p99 of the picker ${medianOf(picked).toFixed(0)} ms, best of Envoy (${best[1]}) ${best[0].toFixed(0)} ms: ${ratio.toFixed(2)}`,
          );
          figures[`p99VsBest${skew}`] = ratio;
          if (skew > 1) ratios.push(ratio);
        }
        if (skew === 1) {
          const p50s = await measureAdded(subjects, 8);
          const bare = p50s.get("round robin") ?? [];
          const mine = p50s.get(picked) ?? [];
          const added = medianInterval(
            mine.map((p50, index) => p50 - (bare[index] ?? NaN)),
            draw,
          );
          say(
            `one request at a time: bare Envoy p50 ${quantile(bare, 0.5).toFixed(2)} ms, with the picker ${quantile(mine, 0.5).toFixed(2)} ms, added ${added.median.toFixed(2)} ms (95 %: ${added.low.toFixed(2)}..${added.high.toFixed(2)})`,
          );
          figures["addedP50Ms"] = added.median;
          const picking = subjects.filter(({ name }) => name === picked);
          const beforeMs = processorMs(pickerPid);
          await warm(picking);
          const each = (processorMs(pickerPid) - beforeMs) / warmUp;
          say(`processor time of the picker: ${each.toFixed(2)} ms for each request`);
          figures["pickerProcessorMs"] = each;
        }
      } finally {
        await opened?.close();
        farm.disconnect();
        if (farm.exitCode === null) await once(farm, "exit");
      }
    }
    if (ratios.length > 0) figures["p99VsBestSkewed"] = Math.max(...ratios);
  } catch (thrown) {
    if (!(thrown instanceof Unavailable)) throw thrown;
    notRun.push(`Envoy: ${thrown.message}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  if (!chosen.includes("pods")) return { figures, rows, notRun };
  const watched = await watchFigures(pods);
  say(
    `${pods} pods: known after ${watched.knownMs.toFixed(0)} ms, ${watched.peakMebibytes.toFixed(0)} MiB at most; a change is applied after ${watched.changeMs.toFixed(0)} ms at most (of ${watched.changes})`,
  );
  figures["watchMebibytes"] = watched.peakMebibytes;
  figures["watchChangeMs"] = watched.changeMs;
  rows.push({ pods, ...watched });
  return { figures, rows, notRun };
}

/** An endpoint picker beside Envoy's own policies on servers of unequal speed, its cost on the way, and the cost of watching a large pool. */
export const bench: Bench = {
  name: "pick",
  about:
    "p99 of longshore pick against Envoy's own policies on four servers; its added time; 10,000 pods watched",
  options: ["--part NAME,...", "--rounds N", "--seconds N", "--pods N"],
  bars: {
    simulatedP99VsBest1: { atMost: 1.05 },
    simulatedP99VsBestSkewed: { atMost: 0.9 },
    p99VsBest1: { atMost: 1.05 },
    p99VsBestSkewed: { atMost: 0.9 },
    addedP50Ms: { atMost: 1 },
    lateServerRatio: { atMost: 2 },
    latePickerRatio: { atMost: 2 },
    watchMebibytes: { atMost: 300 },
    watchChangeMs: { atMost: 1000 },
  },
  run,
};
