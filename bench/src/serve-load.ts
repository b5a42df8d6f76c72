import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type DebianTools,
  loadGenerators,
  must,
  type RunningPeer,
  type ServedModel,
  usageOf,
} from "@longshore/conformance";
import type { BenchRequest, Wire } from "./serve-bodies.ts";
import { quantile } from "./harness.ts";

/** perf_analyzer's further figures: more of the latencies, and the server's own time of an inference. */
export interface ServerSide {
  readonly p90Ms: number;
  readonly p95Ms: number;
  readonly queueMicros: number;
  readonly inputMicros: number;
  readonly inferMicros: number;
  readonly outputMicros: number;
}

/** The result of one window of load. */
export interface Load extends Partial<ServerSide> {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly requests: number;
  /** Answers that were not 200 and requests without an answer. */
  readonly failed: number;
  /** Processor time of the server and all its processes for each request, in microseconds. */
  readonly cpuMicros: number;
}

/** How a server is loaded. */
export interface LoadPlan {
  readonly model: ServedModel;
  readonly wire: Wire;
  readonly request: BenchRequest;
  readonly concurrency: number;
  readonly seconds: number;
  /** Cores of the generator. */
  readonly cores: readonly number[];
}

/** The one load generator for all servers. */
export interface Generator extends Disposable {
  load(peer: RunningPeer, plan: LoadPlan): Promise<Load>;
}

/** The time left out at the start of a window, in seconds: connections open and queues fill. */
const warmUpSeconds = 0.5;

interface Line {
  readonly startUs: number;
  readonly status: number;
  readonly tookUs: number;
}

function readLog(path: string): readonly Line[] {
  return readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [startUs = 0, status = 0, tookUs = 0] = line.split("\t").map(Number);
      return { startUs, status, tookUs };
    });
}

/**
 * Requests a second between the first answer after the warm-up and the last one, so that neither a request that was cut
 * off by the end of the window nor the filling of the queue counts.
 */
function summarise(lines: readonly Line[], seconds: number, cpuSeconds: number): Load {
  const good = lines.filter(({ status }) => status === 200);
  const ends = good.map(({ startUs, tookUs }) => startUs + tookUs).sort((a, b) => a - b);
  const beginUs = Math.min(...lines.slice(0, 1024).map(({ startUs }) => startUs)) + warmUpSeconds * 1e6;
  const counted = ends.filter((end) => end >= beginUs);
  const [first = 0] = counted;
  const last = counted.at(-1) ?? 0;
  const took = good.filter(({ startUs }) => startUs >= beginUs).map(({ tookUs }) => tookUs / 1000);
  return {
    perSecond: counted.length > 1 ? ((counted.length - 1) / (last - first)) * 1e6 : good.length / seconds,
    p50Ms: took.length > 0 ? quantile(took, 0.5) : NaN,
    p99Ms: took.length > 0 ? quantile(took, 0.99) : NaN,
    requests: good.length,
    failed: lines.length - good.length,
    cpuMicros: (cpuSeconds / good.length) * 1e6,
  };
}

/** How often a server is looked at, and the share of a core below which it has nothing left to do. */
const lookMs = 100;
const idleRatio = 0.1;
const mostLooks = 100;

/**
 * Waits until a server has done what the end of a window left it: not every server gives up requests whose clients are
 * gone, and the next window, often another server's on the same core, would run beside them.
 */
export async function settled(pid: number): Promise<void> {
  for (let look = 0; look < mostLooks; look++) {
    const before = usageOf(pid).cpuSeconds;
    await new Promise((resolve) => {
      setTimeout(resolve, lookMs);
    });
    if ((usageOf(pid).cpuSeconds - before) * 1000 < lookMs * idleRatio) return;
  }
}

/** h2load, which speaks HTTP/1.1 and, over HTTP/2, gRPC; installed when it is not there. Throws `Unavailable`. */
export async function openGenerator(): Promise<Generator> {
  const tools: DebianTools = await loadGenerators();
  const folder = mkdtempSync(join(tmpdir(), "longshore-serve-load-"));
  const bodies = new Map<BenchRequest, string>();
  const bodyFile = (request: BenchRequest): string => {
    const known = bodies.get(request);
    if (known !== undefined) return known;
    const file = join(folder, `body-${bodies.size}`);
    writeFileSync(file, request.body);
    bodies.set(request, file);
    return file;
  };
  return {
    async load(peer, { wire, request, concurrency, seconds, cores }) {
      const log = join(folder, "log");
      rmSync(log, { force: true });
      const address = wire === "grpc" ? peer.grpc : peer.http;
      if (address === undefined) throw new Error(`${peer.name} has no ${wire} port`);
      // Over HTTP/2 a window of 2^30 - 1 lets megabytes arrive without waiting; one stream on each connection, as with HTTP/1.1.
      const protocol = wire === "grpc" ? ["-m", "1", "-w", "30", "-W", "30"] : ["--h1"];
      const headers = Object.entries(request.headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
      const before = usageOf(peer.pid).cpuSeconds;
      await must(
        "taskset",
        [
          "-c",
          cores.join(","),
          tools.program("h2load"),
          ...protocol,
          "-t",
          "1",
          "-c",
          `${concurrency}`,
          "-D",
          `${Math.round((seconds + warmUpSeconds) * 1000)}ms`,
          "--log-file",
          log,
          "-d",
          bodyFile(request),
          ...headers,
          `http://${address}${request.path}`,
        ],
        { env: tools.env, timeoutMs: (seconds + 60) * 1000 },
      );
      const cpuSeconds = usageOf(peer.pid).cpuSeconds - before;
      await settled(peer.pid);
      return summarise(readLog(log), seconds, cpuSeconds);
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
