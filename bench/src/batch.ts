import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Batching,
  endCut,
  exponential,
  float32Tensor,
  housekeepingCall,
  seededRandom,
  startCut,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import type { Engine } from "@longshore/engine";
import { poissonArrivals, readArrivals, stretched } from "@longshore/lab";
import { onnxRuntime } from "@longshore/nodejs";
import { memoryStore } from "@longshore/testkit";
import { benchEngine } from "./bench-engine.ts";
import {
  type Bench,
  type BenchContext,
  chosenOf,
  type Measured,
  median,
  medianInterval,
  numberOf,
  quantile,
  type Row,
} from "./harness.ts";
import { dense, smallConvolution } from "./load/models.ts";

/** A model, and what is asked of it. */
interface Subject {
  readonly name: string;
  readonly figure: string;
  readonly model: Uint8Array;
  readonly row: readonly number[];
  /** 99 of 100 answers must be there within this, in milliseconds. */
  readonly boundMs: number;
  /** Where the search for the highest rate begins, a second. */
  readonly startPerSecond: number;
}

/** A way to batch, by hand or learned. */
interface Setting {
  readonly name: string;
  readonly batching: Partial<Batching>;
}

interface EndpointState {
  readonly setting: Setting;
  readonly subject: Subject;
  readonly engine: Engine;
  readonly inputs: Tensors;
  close(): Promise<void>;
}

const maxBatchSize = 32;
const adaptive: Setting = { name: "adaptive", batching: { maxBatchSize } };

/** What somebody would try by hand: the largest batch, and how long to wait for it. */
const grid: readonly Setting[] = [
  { name: "size 1", batching: { maxBatchSize: 1 } },
  ...[4, 8, 32].flatMap((size) =>
    [0, 1, 3].map((delayMs): Setting => ({
      name: `size ${size}, delay ${delayMs} ms`,
      batching: { maxBatchSize: size, preferredSizes: [size], maxQueueDelayMs: delayMs },
    })),
  ),
];

const subjects = (seed: number): readonly Subject[] => [
  {
    name: "dense",
    figure: "vsBestGridWherePays",
    model: dense(seed, 1024, 4),
    row: [1024],
    boundMs: 40,
    startPerSecond: 3000,
  },
  {
    name: "convolution",
    figure: "vsBestGridWhereNot",
    model: smallConvolution(seed, 48),
    row: [3, 48, 48],
    boundMs: 40,
    startPerSecond: 300,
  },
];

async function open(subject: Subject, setting: Setting): Promise<EndpointState> {
  const runtime = onnxRuntime();
  const yaml = `batching: ${JSON.stringify(setting.batching)}\n`;
  const engine = benchEngine(
    memoryStore({ "m/model.yaml": yaml, "m/1/model.onnx": subject.model }),
    runtime,
    {
      maxQueued: 4096,
      maxInFlight: 8192,
    },
  );
  const count = subject.row.reduce((product, size) => product * size, 1);
  const inputs = tensorsOf(float32Tensor("x", [1, ...subject.row], new Float32Array(count).fill(0.1)));
  const endpoint: EndpointState = {
    setting,
    subject,
    engine,
    inputs,
    async close() {
      await engine.close();
      await runtime.close();
    },
  };
  // Compilers warm up, and what is learned is learned.
  for (const [index, factor] of [0.2, 0.5, 1, 1.5].entries()) {
    const perSecond = factor * subject.startPerSecond;
    await trial(endpoint, poissonArrivals(perSecond, Math.ceil(0.3 * perSecond), index));
  }
  return endpoint;
}

const segment = { model: "m", version: "", digest: "", variant: "", from: startCut, to: endCut };

/** Sends requests at those instants, whatever became of those before; gives the times to their answers. */
async function trial(
  { engine, inputs }: EndpointState,
  arrivals: readonly number[],
): Promise<readonly number[]> {
  const startMs = performance.now();
  const times: number[] = [];
  const under: Promise<void>[] = [];
  const ask = async (atMs: number): Promise<void> => {
    const answered = await engine.infer({ segment, inputs, codecs: {} }, housekeepingCall("bench")).then(
      () => true,
      // Far beyond what it can do, an endpoint refuses; that is no answer in time.
      () => false,
    );
    times.push(answered ? performance.now() - startMs - atMs : Infinity);
  };
  let next = 0;
  while (next < arrivals.length) {
    const nowMs = performance.now() - startMs;
    for (let atMs = arrivals[next]; atMs !== undefined && atMs <= nowMs; atMs = arrivals[++next])
      under.push(ask(atMs));
    const waitMs = (arrivals[next] ?? 0) - (performance.now() - startMs);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, waitMs)));
  }
  await Promise.all(under);
  return times;
}

/** Instants of arrival at a mean rate for some seconds. */
type Arrivals = (perSecond: number, seconds: number, seed: number) => readonly number[];

const poisson: Arrivals = (perSecond, seconds, seed) =>
  poissonArrivals(perSecond, Math.ceil(perSecond * seconds), seed);

/** Bursts: a process that is four times as fast for a fifth of the time (MMPP of two states), 50 ms on average. */
const switching: Arrivals = (perSecond, seconds, seed) => {
  const random = seededRandom(seed);
  const arrivals: number[] = [];
  let atMs = 0;
  let fast = false;
  let untilMs = exponential(random, 200);
  while (atMs < seconds * 1000) {
    atMs += exponential(random, 1000 / (perSecond * (fast ? 3.25 : 0.44)));
    if (atMs > untilMs) {
      fast = !fast;
      untilMs = atMs + exponential(random, fast ? 50 : 200);
    }
    arrivals.push(atMs);
  }
  return arrivals;
};

/** A recorded trace of requests, sped up to the rate; another part of it for every seed. */
function recorded(data: string): Arrivals | undefined {
  const path = join(data, "traces/requests/AzureLLMInferenceTrace_code.csv");
  if (!existsSync(path)) return undefined;
  const all = readArrivals("AzureLLMInferenceTrace_code", readFileSync(path, "utf8"));
  return (perSecond, seconds, seed) => {
    const count = Math.min(all.length - 1, Math.ceil(perSecond * seconds));
    const first = Math.floor(seededRandom(seed).next() * (all.length - count));
    const part = all.slice(first, first + count);
    const startMs = part[0] ?? 0;
    const spanMs = (part.at(-1) ?? 1) - startMs;
    return stretched(
      part.map((atMs) => atMs - startMs),
      (count / perSecond / spanMs) * 1000,
    );
  };
}

/** 99th percentile of the times to answers of a trial, in milliseconds. */
async function p99Of(
  endpoint: EndpointState,
  arrivals: Arrivals,
  perSecond: number,
  seconds: number,
  seed: number,
): Promise<number> {
  return quantile(await trial(endpoint, arrivals(perSecond, seconds, seed)), 0.99);
}

/** What came of a sweep: to each setting the highest rate of the ladder that it held, a second; the best first. */
interface Swept {
  readonly endpoint: EndpointState;
  readonly perSecond: number;
  readonly p99Ms: number;
}

/** All settings at a rate that grows until two are left that hold it, or fewer. */
async function sweep(
  endpoints: readonly EndpointState[],
  arrivals: Arrivals,
  from: number,
  seed: number,
): Promise<readonly Swept[]> {
  const held = new Map<EndpointState, Swept>();
  let left = endpoints;
  let perSecond = from;
  const step = async (): Promise<readonly EndpointState[]> => {
    const holding: EndpointState[] = [];
    for (const endpoint of left) {
      let p99Ms = await p99Of(endpoint, arrivals, perSecond, 0.4, seed);
      if (p99Ms > endpoint.subject.boundMs) p99Ms = await p99Of(endpoint, arrivals, perSecond, 0.4, seed);
      if (p99Ms > endpoint.subject.boundMs) continue;
      held.set(endpoint, { endpoint, perSecond, p99Ms });
      holding.push(endpoint);
    }
    return holding;
  };
  for (let holding = await step(); ; holding = await step()) {
    if (holding.length === 0 && held.size > 0) break;
    if (holding.length === 0 && perSecond < 1)
      throw new Error("no setting answers even one request a second in time");
    if (holding.length > 0) left = holding;
    if (holding.length === 1 || holding.length === 2) break;
    perSecond *= holding.length === 0 ? 1 / 1.5 : 1.25;
  }
  return [...held.values()].sort((a, b) => b.perSecond - a.perSecond || a.p99Ms - b.p99Ms);
}

/** The highest rate at which 99 of 100 answers are in time: doubled while it holds, then halved in on. */
async function highest(
  endpoint: EndpointState,
  arrivals: Arrivals,
  seconds: number,
  steps: number,
  from: number,
  seed: number,
): Promise<number> {
  const { boundMs } = endpoint.subject;
  const inTime = async (perSecond: number): Promise<boolean> =>
    (await p99Of(endpoint, arrivals, perSecond, seconds, seed)) <= boundMs;
  // A hiccup of the machine is not the setting's fault, so a rate fails when it fails twice.
  const holds = async (perSecond: number): Promise<boolean> =>
    (await inTime(perSecond)) || (await inTime(perSecond));
  let low = from / 1.5;
  let high = from;
  if (await holds(high)) {
    do {
      low = high;
      high *= 1.5;
    } while (await holds(high));
  } else {
    while (!(await holds(low))) {
      if (low < 1) throw new Error(`${endpoint.setting.name} answers not even one request a second in time`);
      high = low;
      low /= 1.5;
    }
  }
  for (let step = 0; step < steps; step++) {
    const middle = Math.sqrt(low * high);
    if (await holds(middle)) low = middle;
    else high = middle;
  }
  return low;
}

async function compare(
  subject: Subject,
  patterns: readonly (readonly [string, Arrivals])[],
  context: BenchContext,
): Promise<{ readonly rows: readonly Row[]; readonly ratios: readonly number[] }> {
  const { say, seed } = context;
  const rows: Row[] = [];
  const all: EndpointState[] = [];
  for (const setting of [adaptive, ...grid]) all.push(await open(subject, setting));
  const ratios: number[] = [];
  const rounds = numberOf(context.args, "rounds", 7);
  const ours = all[0];
  for (const [pattern, arrivals] of patterns) {
    const found = await sweep(all.slice(1), arrivals, subject.startPerSecond, seed);
    for (const { endpoint, perSecond, p99Ms } of found)
      rows.push({
        subject: subject.name,
        pattern,
        setting: endpoint.setting.name,
        round: -1,
        perSecond,
        p99Ms,
      });
    // The two best of the sweep are measured again beside ours, in turn.
    const rivals = found.slice(0, 2);
    say(
      `  ${subject.name}, ${pattern}: swept ${found.map((one) => `${one.endpoint.setting.name} ${one.perSecond.toFixed(0)}/s`).join("; ")}`,
    );
    const start = rivals[0]?.perSecond ?? subject.startPerSecond;
    const measured = new Map<EndpointState, number[]>();
    for (let round = 0; round < rounds; round++) {
      const contenders = [ours, ...rivals.map(({ endpoint }) => endpoint)].flatMap((endpoint) =>
        endpoint ? [endpoint] : [],
      );
      const rates = new Map<EndpointState, number>();
      for (const endpoint of round % 2 === 0 ? contenders : contenders.toReversed()) {
        const perSecond = await highest(endpoint, arrivals, 0.6, 3, start, seed + 17 * round);
        rates.set(endpoint, perSecond);
        measured.set(endpoint, [...(measured.get(endpoint) ?? []), perSecond]);
        rows.push({ subject: subject.name, pattern, setting: endpoint.setting.name, round, perSecond });
      }
      say(
        `  ${subject.name}, ${pattern}, round ${round}: ${contenders.map((endpoint) => `${endpoint.setting.name} ${(rates.get(endpoint) ?? NaN).toFixed(0)}/s`).join(", ")}`,
      );
    }
    // The best setting is one setting, whichever was best over all rounds; ours is held against it round by round.
    const theirs = rivals.map(({ endpoint }) => measured.get(endpoint) ?? []);
    const best = theirs.toSorted((a, b) => median(b) - median(a))[0] ?? [];
    const own = (ours && measured.get(ours)) ?? [];
    ratios.push(...own.map((perSecond, round) => perSecond / (best[round] ?? NaN)));
  }
  for (const endpoint of all) await endpoint.close();
  return { rows, ratios };
}

/** Batching that nobody tunes against the best that a sweep finds, where batching pays and where it does not. */
export const bench: Bench = {
  name: "batch",
  about:
    "highest rates with 99 of 100 answers in time, learned batching against a swept grid of sizes and delays, one instance of one thread",
  options: ["--only MODEL,...", "--pattern PATTERN,...", "--rounds N"],
  bars: { vsBestGridWherePays: { atLeast: 0.95 }, vsBestGridWhereNot: { atLeast: 0.95 } },
  async run(context): Promise<Measured> {
    const real = context.data === undefined ? undefined : recorded(context.data);
    const known: Readonly<Record<"Poisson" | "bursts", readonly [string, Arrivals]>> = {
      Poisson: ["Poisson", poisson],
      bursts: real ? ["recorded bursts", real] : ["bursts", switching],
    };
    const names =
      chosenOf(context.args, "pattern", ["Poisson", "bursts"]) ?? (["Poisson", "bursts"] as const);
    const patterns = names.map((name) => known[name]);
    const figures: Record<string, number> = {};
    const rows: Row[] = [];
    const draw = seededRandom(context.seed);
    const all = subjects(context.seed);
    const named = all.map(({ name }) => name);
    const wanted = chosenOf(context.args, "only", named) ?? named;
    for (const subject of all.filter(({ name }) => wanted.includes(name))) {
      const { rows: own, ratios } = await compare(subject, patterns, context);
      rows.push(...own);
      const { median: middle, low, high } = medianInterval(ratios, () => draw.next());
      figures[subject.figure] = middle;
      context.say(`  ${subject.figure} ${middle.toFixed(3)} (95 %: ${low.toFixed(3)}..${high.toFixed(3)})`);
    }
    return { figures, rows };
  },
};
