/**
 * `bench failover --part soak`: memory, event loop and handles of a server while three models (a text recogniser, a voice detector with state, a small untrusted model) are loaded,
 * used and unloaded, and then under load of four clients without pause. `rssGrowthRatio` compares the last 15 cycles with the first 15 that count; `eventLoopP99Ms` is the
 * median of the p99s of each second.
 */
import { rm } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import type { Bench, BenchContext, Measured, Row } from "./harness.ts";
import { median, numberOf, quantile } from "./harness.ts";
import { type SoakModel, soakRepository } from "./soak/models.ts";
import type { ProbeSample } from "./soak/probe.ts";
import { type SoakServer, startServer, steadyMalloc } from "./soak/server.ts";

/** Cycles before the growth is counted: until then caches fill, code is compiled, and allocators take their arenas. */
const settlingCycles = 20;
/** Cycles whose median is compared: one reading depends on when garbage was last collected, by more than the bar allows. */
const window = 15;
/** After a cycle, so that threads and processes that were ended are gone when memory is read. */
const restMs = 100;
const megabyte = 1e6;
/**
 * Requests that broke off or took too long are sent again, which is a figure: where the whole bench is stopped for a minute, as
 * on a machine that sleeps, connections turn out to have been silent and loads to have taken too long.
 */
const mostTries = 3;

async function ask(server: SoakServer, path: string, body: string): Promise<void> {
  const once = async (): Promise<{ readonly status: number; readonly text: string }> => {
    const headers = { "content-type": "application/json" };
    const reply = await fetch(`${server.address}${path}`, { method: "POST", headers, body });
    return { status: reply.status, text: await reply.text() };
  };
  for (let left = mostTries - 1; ; left--) {
    const { status, text } = await once().catch((thrown: unknown) => ({ status: 0, text: String(thrown) }));
    if (status === 200) return;
    const passing = status === 0 || status === 503 || status === 504;
    if (!passing || left === 0) throw new Error(`${path} was answered ${status}: ${text.slice(0, 300)}`);
    server.askedAgain++;
  }
}

const load = (server: SoakServer, { name }: SoakModel): Promise<void> =>
  ask(server, `/v2/repository/models/${name}/load`, "{}");
const unload = (server: SoakServer, { name }: SoakModel): Promise<void> =>
  ask(server, `/v2/repository/models/${name}/unload`, "{}");
const infer = (server: SoakServer, { name, body }: SoakModel): Promise<void> =>
  ask(server, `/v2/models/${name}/infer`, body);

function rowOf(phase: string, index: number, sample: ProbeSample): Row {
  return {
    phase,
    index,
    rssMb: sample.rssBytes / megabyte,
    heapMb: sample.heapBytes / megabyte,
    externalMb: sample.externalBytes / megabyte,
    loopP99Ms: sample.loopP99Ms,
    loopMaxMs: sample.loopMaxMs,
    loopBusyMaxMs: sample.loopBusyMaxMs,
    handles: sample.handles,
  };
}

/** Megabytes an hour by least squares, from samples at seconds. */
function slopePerHour(points: readonly { readonly seconds: number; readonly bytes: number }[]): number {
  const meanX = points.reduce((sum, { seconds }) => sum + seconds, 0) / points.length;
  const meanY = points.reduce((sum, { bytes }) => sum + bytes, 0) / points.length;
  let across = 0;
  let along = 0;
  for (const { seconds, bytes } of points) {
    across += (seconds - meanX) * (bytes - meanY);
    along += (seconds - meanX) ** 2;
  }
  return along === 0 ? 0 : ((across / along) * 3600) / megabyte;
}

async function cycle(server: SoakServer, models: readonly SoakModel[]): Promise<ProbeSample> {
  for (const model of models) {
    await load(server, model);
    await infer(server, model);
    await infer(server, model);
    await unload(server, model);
  }
  await pause(restMs);
  return server.sample("kept");
}

/** Loads and unloads every model again and again. */
async function cycles(
  server: SoakServer,
  models: readonly SoakModel[],
  count: number,
  context: BenchContext,
  rows: Row[],
): Promise<Record<string, number>> {
  const all: ProbeSample[] = [];
  for (let index = 0; index < settlingCycles + count; index++) {
    const sample = await cycle(server, models);
    all.push(sample);
    rows.push(rowOf("cycles", index, sample));
    if (index % 10 === 9) context.say(`${index + 1} cycles: ${(sample.rssBytes / megabyte).toFixed(1)} MB`);
  }
  const settled = all.slice(settlingCycles);
  const middle = (some: readonly ProbeSample[], of: (sample: ProbeSample) => number): number =>
    median(some.map(of));
  const before = middle(settled.slice(0, window), ({ rssBytes }) => rssBytes);
  const after = middle(settled.slice(-window), ({ rssBytes }) => rssBytes);
  const least = (some: readonly ProbeSample[]): number => Math.min(...some.map(({ heapBytes }) => heapBytes));
  return {
    rssGrowthRatio: after / before - 1,
    rssFirstMb: (all[0]?.rssBytes ?? NaN) / megabyte,
    rssBeforeMb: before / megabyte,
    rssAfterMb: after / megabyte,
    leastHeapBeforeMb: least(settled.slice(0, Math.ceil(settled.length / 2))) / megabyte,
    leastHeapAfterMb: least(settled.slice(-Math.ceil(settled.length / 2))) / megabyte,
    handlesGrowth: (all.at(-1)?.handles ?? 0) - (settled[0]?.handles ?? 0),
  };
}

/** Keeps the server busy with all models for some minutes. */
async function steady(
  server: SoakServer,
  models: readonly SoakModel[],
  minutes: number,
  rows: Row[],
): Promise<Record<string, number>> {
  for (const model of models) await load(server, model);
  const endMs = performance.now() + minutes * 60_000;
  let requests = 0;
  const worker = async (own: number): Promise<void> => {
    for (let turn = own; performance.now() < endMs; turn++) {
      const model = models[turn % models.length];
      if (model) await infer(server, model);
      requests++;
    }
  };
  const samples: { readonly seconds: number; readonly sample: ProbeSample }[] = [];
  const watch = async (): Promise<void> => {
    await server.sample();
    while (performance.now() < endMs) {
      await pause(Math.min(1000, minutes * 600));
      const sample = await server.sample();
      samples.push({ seconds: performance.now() / 1000, sample });
      rows.push(rowOf("steady", samples.length, sample));
    }
  };
  await Promise.all([worker(0), worker(1), worker(2), worker(3), watch()]);
  for (const model of models) await unload(server, model);
  // The first quarter is where a busy server finds its size.
  const settled = samples.slice(Math.floor(samples.length / 4));
  return {
    requestsPerSecond: requests / (minutes * 60),
    rssSlopeMbPerHour: slopePerHour(
      settled.map(({ seconds, sample }) => ({ seconds, bytes: sample.rssBytes })),
    ),
    eventLoopP99Ms: quantile(
      settled.map(({ sample }) => sample.loopP99Ms),
      0.5,
    ),
    eventLoopMaxMs: Math.max(...settled.map(({ sample }) => sample.loopMaxMs)),
    loopBusyMaxMs: Math.max(...settled.map(({ sample }) => sample.loopBusyMaxMs)),
    handles: Math.max(...settled.map(({ sample }) => sample.handles)),
  };
}

export const bench: Bench = {
  name: "soak",
  about:
    "a real longshore serve: models loaded, used and unloaded over HTTP 100 times, then minutes under load; its memory, event loop and handles",
  options: ["--minutes N", "--cycles N", "--steady-malloc"],
  bars: { rssGrowthRatio: { atMost: 0.05 }, handlesGrowth: { atMost: 0 }, eventLoopP99Ms: { atMost: 20 } },
  async run(context): Promise<Measured> {
    const minutes = numberOf(context.args, "minutes", 1);
    const count = numberOf(context.args, "cycles", 100);
    const { folder, models } = await soakRepository();
    const rows: Row[] = [];
    try {
      const environment = context.args.includes("--steady-malloc") ? steadyMalloc : {};
      context.say(`environment of the server: ${JSON.stringify(environment)}`);
      const server = await startServer(folder, environment);
      const cycled = await cycles(server, models, count, context, rows);
      const steadied = await steady(server, models, minutes, rows);
      const exitCode = await server.stop();
      context.say(`ended by SIGTERM with exit code ${exitCode}`);
      return {
        figures: { ...cycled, ...steadied, askedAgain: server.askedAgain, exitCode: exitCode ?? -1 },
        rows,
      };
    } finally {
      await rm(folder, { recursive: true });
    }
  },
};
