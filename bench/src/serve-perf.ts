import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { perfAnalyzer, run, type RunningPeer, type ServedModel, usageOf } from "@longshore/conformance";
import { benchRequest, type Wire } from "./serve-bodies.ts";
import { type Generator, type Load, type ServerSide, settled } from "./serve-load.ts";
import type { Pair } from "./serve-rounds.ts";
import type { Subject } from "./serve-subjects.ts";

/** The servers of perf_analyzer's runs, unless servers are named: others have no configuration that it could read. */
export const perfServers: readonly string[] = ["longshore", "triton-python", "triton-ort"];

/** Its protocols. */
export const perfWires: readonly Wire[] = ["http", "grpc"];

/** Ours beside each backend of Triton on the same wire: inferences a second. */
export function perfPairs(
  model: string,
  concurrency: number,
  cores: number,
  subjects: readonly Subject[],
): readonly Pair[] {
  return subjects.flatMap(({ name: theirs }): Pair[] => {
    const [server = "", wire = ""] = theirs.split("/");
    if (!server.startsWith("triton")) return [];
    const figure = `perf/${model}/${wire}/${concurrency}${cores > 1 ? `/${cores}` : ""} vs ${server}`;
    return [{ figure, ours: `longshore/${wire}`, theirs, what: "perSecond", bar: undefined }];
  });
}

/** It measures until three windows in a row agree; here any three do, since rounds are compared. */
const windows = 3;

/** The longest window that is tried. */
const mostWindowMs = 60_000;

/** Its columns for the side of the server, in microseconds for an inference, from the server's statistics. */
const serverColumns: Readonly<Record<keyof ServerSide, string>> = {
  p90Ms: "p90 latency",
  p95Ms: "p95 latency",
  queueMicros: "Server Queue",
  inputMicros: "Server Compute Input",
  inferMicros: "Server Compute Infer",
  outputMicros: "Server Compute Output",
};

/** Reads the one row that it wrote for a concurrency, by the names of its columns. */
export function readTable(text: string): (column: string) => number {
  const [head = "", row = ""] = text.trim().split("\n");
  const cells = row.split(",");
  const columns = head.split(",");
  return (column) => {
    const value = Number(cells[columns.indexOf(column)] ?? NaN);
    if (!columns.includes(column) || Number.isNaN(value))
      throw new Error(`perf_analyzer told no '${column}': ${text.slice(0, 300)}`);
    return value;
  };
}

/** Inferences that a server has counted, by its own statistics. */
async function counted(peer: RunningPeer, model: ServedModel): Promise<number> {
  const reply = await fetch(`http://${peer.http}/v2/models/${model.name}/stats`);
  const { model_stats: stats } = (await reply.json()) as {
    readonly model_stats: readonly { readonly inference_count: number }[];
  };
  return stats.reduce((sum, { inference_count: count }) => sum + count, 0);
}

/**
 * Triton's load generator, unmodified, as the generator of all servers: it reads metadata, configuration and statistics as from
 * Triton, sends binary tensors of its own making and reports the server's figures beside those of clients.
 */
export async function openPerfAnalyzer(): Promise<Generator> {
  const program = await perfAnalyzer();
  const folder = mkdtempSync(join(tmpdir(), "longshore-serve-perf-"));
  const table = join(folder, "table.csv");
  /** Milliseconds of a window, by server, model, wire and clients, if the given one is too short. */
  const longer = new Map<string, number>();
  /** Servers that have answered: the first answer may take longer than a window. */
  const awake = new Set<string>();
  return {
    async load(peer, { model, wire, concurrency, seconds, cores }) {
      const address = wire === "grpc" ? peer.grpc : peer.http;
      if (address === undefined) throw new Error(`${peer.name} has no ${wire} port`);
      const { name, input, batch } = model;
      const shape = batch > 1 ? input.shape.slice(1) : input.shape;
      const key = `${address} ${name} ${concurrency}`;
      if (!awake.has(`${address} ${name}`)) {
        const { path, headers, body } = benchRequest(model, "http");
        const reply = await fetch(`http://${peer.http}${path}`, {
          method: "POST",
          headers,
          body: Uint8Array.from(body),
        });
        await reply.arrayBuffer();
        if (reply.ok) awake.add(`${address} ${name}`);
      }
      let windowMs = Math.max(longer.get(key) ?? 0, Math.round((seconds / windows) * 1000));
      for (;;) {
        rmSync(table, { force: true });
        const before = { count: await counted(peer, model), cpuSeconds: usageOf(peer.pid).cpuSeconds };
        const options = {
          "-m": name,
          "-u": address,
          "-i": wire,
          "-f": table,
          "--concurrency-range": concurrency,
          "--shape": `${input.name}:${shape.join(",")}`,
          "--measurement-interval": windowMs,
          "--max-trials": windows,
          "--stability-percentage": 999,
        };
        const { code, out, err } = await run(
          "taskset",
          ["-c", cores.join(","), program.path, ...Object.entries(options).flat().map(String)],
          { env: program.env, timeoutMs: windowMs * windows + 600_000 },
        );
        const short = /No valid requests recorded/.test(out + err);
        if (code !== 0 && !short)
          throw new Error(`perf_analyzer ended with ${code}: ${(out + err).slice(-500)}`);
        await settled(peer.pid);
        const of = short ? undefined : readTable(readFileSync(table, "utf8"));
        // Each client is answered twice in a window at least, or its quantiles would be those of a few requests.
        if (!of || (of("Inferences/Second") * windowMs) / 1000 < 2 * concurrency) {
          windowMs *= 2;
          if (windowMs > mostWindowMs)
            throw new Error(`${peer.name} answers too little in ${windowMs / 2} ms`);
          longer.set(key, windowMs);
          continue;
        }
        const requests = (await counted(peer, model)) - before.count;
        const cpuSeconds = usageOf(peer.pid).cpuSeconds - before.cpuSeconds;
        const load: Load = {
          perSecond: of("Inferences/Second"),
          p50Ms: of("p50 latency") / 1000,
          p99Ms: of("p99 latency") / 1000,
          requests,
          // It ends with an error where an answer is none.
          failed: 0,
          cpuMicros: (cpuSeconds / requests) * 1e6,
        };
        const side = Object.entries(serverColumns).map(([word, column]) => {
          return [word, of(column) / (word.endsWith("Ms") ? 1000 : 1)];
        });
        return { ...load, ...Object.fromEntries(side) };
      }
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
