import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "@longshore/core";
import { poissonArrivals } from "@longshore/lab";
import ort from "onnxruntime-node";
import {
  type Bench,
  type BenchContext,
  type Measured,
  median,
  medianInterval,
  optionOf,
  quantile,
  type Row,
} from "./harness.ts";
import {
  type Generator,
  type LoopDelay,
  type ServeProcess,
  startBare,
  startGenerator,
  startServe,
} from "./load/drive.ts";
import type { PhaseResult, Stream, StreamResult } from "./load/messages.ts";
import { binaryRequest, overloadPeers, type OverloadRequest } from "./load/overload-peers.ts";
import { smallConvolution } from "./load/models.ts";

const rowShape = [1, 3, 112, 112];
const tensorBytes = rowShape.reduce((product, size) => product * size, 4);
/** What a client allows for an answer, and of it what it keeps for the way back. */
const deadlineMs = 120;
const wayBackMs = 5;
/** What tenants allow beside each other: long enough that the light one is hardly ever refused, and its times are whole. */
const patientMs = 600;

/** A senders' tenant, with the default identity: one that a proxy passed on counts as a stranger. */
const strangers = { via: "1.1 proxy" };

interface Place {
  readonly server: Pick<ServeProcess, "port" | "loopDelay">;
  readonly generator: Generator;
  readonly expected: string;
  /** How a request says until when it is of use. */
  readonly asks: OverloadRequest;
}

function stream(
  place: Place,
  name: string,
  perSecond: number,
  seconds: number,
  seed: number,
  headers: Readonly<Record<string, string>> = {},
  withinMs = deadlineMs,
): Stream {
  const all = poissonArrivals(perSecond, Math.ceil(perSecond * seconds * 1.3) + 10, seed);
  return {
    name,
    path: "/v2/models/small/infer",
    ...place.asks(withinMs - wayBackMs, headers),
    arrivals: all.filter((atMs) => atMs < seconds * 1000),
    deadlineMs: withinMs,
    expected: place.expected,
  };
}

/** How ours asks. */
const asksUs: OverloadRequest = (withinMs, headers) => ({
  headers: { "longshore-deadline": String(withinMs), ...headers },
  json: binaryRequest(rowShape),
  tensorBytes,
});

/** Right answers inside their deadline, counted from the planned arrival. */
function good({ statuses, latencyMs }: StreamResult): number {
  return statuses.filter((status, index) => status === 200 && (latencyMs[index] ?? Infinity) <= deadlineMs)
    .length;
}

function refusals({ statuses, serverMs }: StreamResult): readonly number[] {
  return serverMs.filter((_, index) => (statuses[index] ?? 0) >= 400);
}

function answered({ statuses, latencyMs }: StreamResult): readonly number[] {
  return latencyMs.filter((_, index) => statuses[index] === 200);
}

/** What a right answer holds: the outputs of the network for the input that all send, as the runtime gives them. */
async function rightAnswer(model: Uint8Array): Promise<string> {
  const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1, interOpNumThreads: 1 });
  const { y } = await session.run({
    x: new ort.Tensor("float32", new Float32Array(tensorBytes / 4), rowShape),
  });
  const data = y?.data as Float32Array;
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
}

/** The most right answers a second in a ramp of loads: what the others are measured against. */
async function capacity(place: Place): Promise<number> {
  let most = 0;
  for (const [round, perSecond] of [10, 20, 40, 60, 80, 120, 180, 270].entries()) {
    const { goodPerSecond } = await open(place, "ramp", perSecond, 2, round);
    if (perSecond > 2 * most && round > 3) break;
    most = Math.max(most, goodPerSecond);
  }
  return most;
}

interface Phase {
  readonly name: string;
  readonly loop: LoopDelay;
  readonly result: PhaseResult;
  readonly goodPerSecond: number;
}

async function open(
  place: Place,
  name: string,
  perSecond: number,
  seconds: number,
  seed: number,
): Promise<Phase> {
  const result = await place.generator.run(place.server.port, [
    stream(place, name, perSecond, seconds, seed),
  ]);
  const [one] = result.streams;
  return { name, result, loop: await place.server.loopDelay(), goodPerSecond: one ? good(one) / seconds : 0 };
}

function rowOf(phase: Phase, round: number): Row {
  const [one] = phase.result.streams;
  const refused = one ? refusals(one) : [];
  const times = one ? answered(one) : [];
  return {
    phase: phase.name,
    round,
    sent: one?.statuses.length ?? 0,
    goodPerSecond: phase.goodPerSecond,
    late: one ? times.length - good(one) : 0,
    wrong: one?.statuses.filter((status) => status === -1).length ?? 0,
    broken: one?.statuses.filter((status) => status === 0).length ?? 0,
    dropped: one?.statuses.filter((status) => status === 1).length ?? 0,
    refused: refused.length,
    refusalP99Ms: refused.length > 0 ? quantile(refused, 0.99) : null,
    p50Ms: times.length > 0 ? quantile(times, 0.5) : null,
    p99Ms: times.length > 0 ? quantile(times, 0.99) : null,
    generatorCpu: phase.result.cpuRatio,
    generatorLagMs: phase.result.lagMs,
    connections: phase.result.connections,
    loopMaxMs: phase.loop.maxMs,
    loopP99Ms: phase.loop.p99Ms,
  };
}

function told(row: Row): string {
  const number = (value: Row[string] | undefined): string =>
    typeof value === "number" ? value.toFixed(1) : "-";
  return `  ${String(row["phase"]).padEnd(10)} good ${number(row["goodPerSecond"])}/s of ${row["sent"]} sent, late ${row["late"]}, dropped ${row["dropped"]}, wrong ${row["wrong"]}, broken ${row["broken"]}, refused ${row["refused"]} (p99 ${number(row["refusalP99Ms"])} ms), p50 ${number(row["p50Ms"])} p99 ${number(row["p99Ms"])} ms; generator ${number(Number(row["generatorCpu"]) * 100)} % of a core, ${number(row["generatorLagMs"])} ms late; server's loop late by ${number(row["loopMaxMs"])} ms at most, p99 ${number(row["loopP99Ms"])} ms`;
}

/** Seconds after a burst until a second's goodput is again what it was before. */
async function recovery(
  place: Place,
  perSecond: number,
  seed: number,
  say: (row: Row) => void,
): Promise<number> {
  const calm = 0.7 * perSecond;
  const before = poissonArrivals(calm, Math.ceil(calm * 4), seed).filter((atMs) => atMs < 2000);
  const burst = poissonArrivals(5 * perSecond, Math.ceil(60 * perSecond), seed + 1)
    .map((atMs) => 2000 + atMs)
    .filter((atMs) => atMs < 12_000);
  const after = poissonArrivals(calm, Math.ceil(calm * 12), seed + 2)
    .map((atMs) => 12_000 + atMs)
    .filter((atMs) => atMs < 22_000);
  const base = stream(place, "burst", 1, 1, seed);
  const result = await place.generator.run(place.server.port, [
    { ...base, arrivals: [...before, ...burst, ...after] },
  ]);
  const [one] = result.streams;
  if (!one) return Infinity;
  say(
    rowOf(
      { name: "burst 5x", result, loop: await place.server.loopDelay(), goodPerSecond: good(one) / 22 },
      0,
    ),
  );
  const first = before.length + burst.length;
  for (let second = 0; second < 10; second++) {
    const inside = after.flatMap((atMs, index) =>
      atMs >= 12_000 + second * 1000 && atMs < 13_000 + second * 1000 ? [first + index] : [],
    );
    const kept = inside.filter(
      (index) => one.statuses[index] === 200 && (one.latencyMs[index] ?? Infinity) <= deadlineMs,
    );
    if (kept.length >= 0.95 * inside.length) return second + 1;
  }
  return Infinity;
}

/** 99th percentiles of a light tenant alone, and beside one that sends ten times as much. */
async function tenants(
  place: Place,
  perSecond: number,
  seconds: number,
  seed: number,
): Promise<{
  readonly soloMs: number;
  readonly besideMs: number;
  readonly answeredRatio: number;
  readonly beside: PhaseResult;
}> {
  const light = 0.4 * perSecond;
  const own = stream(place, "light", light, seconds, seed, {}, patientMs);
  const heavy = stream(place, "heavy", 10 * light, seconds, seed + 1, strangers, patientMs);
  const alone = await place.generator.run(place.server.port, [own]);
  const beside = await place.generator.run(place.server.port, [own, heavy]);
  // A request without an answer took at least as long as it was allowed to.
  const times = (result: PhaseResult): readonly number[] =>
    (result.streams[0]?.statuses ?? []).map((status, index) =>
      status === 200 ? (result.streams[0]?.latencyMs[index] ?? NaN) : patientMs,
    );
  return {
    soloMs: quantile(times(alone), 0.99),
    besideMs: quantile(times(beside), 0.99),
    answeredRatio: (beside.streams[0] ? answered(beside.streams[0]).length : 0) / own.arrivals.length,
    beside,
  };
}

/**
 * Under a load that keeps it just busy, requests that cannot be answered in the 2 ms that they have left: how long they wait
 * to hear so, as the 99th percentile. What was answered all the same took its time.
 */
async function expired(
  place: Place,
  perSecond: number,
  seed: number,
  note: (row: Row) => void,
): Promise<{ readonly p50Ms: number; readonly p99Ms: number }> {
  const busy = stream(place, "busy", perSecond, 6, seed);
  const hopeless = stream(place, "hopeless", 40, 6, seed + 1, {}, 2 + wayBackMs);
  const result = await place.generator.run(place.server.port, [busy, hopeless]);
  const [, one] = result.streams;
  if (!one) return { p50Ms: NaN, p99Ms: NaN };
  const times = { p50Ms: quantile(one.serverMs, 0.5), p99Ms: quantile(one.serverMs, 0.99) };
  note({
    phase: "expired",
    sent: one.statuses.length,
    answeredAllTheSame: answered(one).length,
    refusedRatio: refusals(one).length / one.statuses.length,
    ...times,
    generatorCpu: result.cpuRatio,
  });
  return times;
}

/** `--rounds N`; default 7. */
function roundsOf(args: readonly string[]): number {
  return Math.max(1, Number(optionOf(args, "rounds") ?? 7));
}

async function measure(place: Place, bare: Place, context: BenchContext): Promise<Measured> {
  const { say, seed } = context;
  const rows: Row[] = [];
  const note = (row: Row): void => {
    rows.push(row);
    say(told(row));
  };
  const most = await capacity(place);
  say(`  at most about ${most.toFixed(0)} right answers a second in a ramp of loads`);
  const rounds = roundsOf(context.args);
  const seconds = 4;
  // Programs that were not compiled yet take their time for the first refusals: a row, and no part of the figures.
  for (const one of [place, bare]) {
    await one.server.loopDelay();
    note(rowOf(await open(one, one === bare ? "bare, cold" : "10x, cold", 10 * most, seconds, seed), -1));
  }
  const loads: readonly (readonly [string, number])[] = [
    ["0.9x", 0.9],
    ["1x", 1],
    ["1.1x", 1.1],
    ["2x", 2],
    ["10x", 10],
  ];
  const goods = new Map<string, number[]>();
  const refused: number[] = [];
  const barely: number[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const [name, factor] of round % 2 === 0 ? loads : loads.toReversed()) {
      const phase = await open(
        place,
        name,
        factor * most,
        seconds,
        seed + 100 * round + Math.round(factor * 10),
      );
      note(rowOf(phase, round));
      goods.set(name, [...(goods.get(name) ?? []), phase.goodPerSecond]);
      const [one] = phase.result.streams;
      if (one && factor >= 2) refused.push(...refusals(one));
    }
    const floor = await open(bare, "bare 10x", 10 * most, seconds, seed + 100 * round);
    note(rowOf(floor, round));
    barely.push(...floor.result.streams.flatMap(refusals));
  }
  const of = (name: string, round: number): number => goods.get(name)?.[round] ?? NaN;
  const peaks = Array.from({ length: rounds }, (_, round) =>
    Math.max(of("0.9x", round), of("1x", round), of("1.1x", round)),
  );
  const ratios = (name: string): readonly number[] => peaks.map((peak, round) => of(name, round) / peak);
  // The best two seconds of the ramp are more than what it can do for long.
  const peak = median(peaks);
  const draw = seededRandom(seed);
  const figures: Record<string, number> = {};
  for (const [figure, name] of [
    ["goodput2x", "2x"],
    ["goodput10x", "10x"],
  ] as const) {
    const { median: middle, low, high } = medianInterval(ratios(name), () => draw.next());
    figures[figure] = middle;
    say(`  ${figure} ${middle.toFixed(3)} (95 %: ${low.toFixed(3)}..${high.toFixed(3)})`);
  }
  figures["refusalMs"] = quantile(refused, 0.99);
  figures["bareRefusalMs"] = quantile(barely, 0.99);
  const late: { readonly p50Ms: number; readonly p99Ms: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    late.push(await expired(place, peak, seed + 5000 + round, (row) => rows.push(row)));
  }
  figures["expiredRefusalMs"] = median(late.map(({ p99Ms }) => p99Ms));
  for (const { p50Ms, p99Ms } of late) {
    say(
      `  requests with 2 ms left were told so after ${p50Ms.toFixed(1)} ms (p50), ${p99Ms.toFixed(1)} ms (p99)`,
    );
  }
  figures["recoverySeconds"] = await recovery(place, peak, seed, note);
  const light: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const one = await tenants(place, peak, 8, seed + 7000 + round);
    light.push(one.besideMs / one.soloMs);
    rows.push({
      phase: "tenants",
      round,
      soloP99Ms: one.soloMs,
      besideP99Ms: one.besideMs,
      answeredRatio: one.answeredRatio,
    });
    say(
      `  light tenant p99 ${one.soloMs.toFixed(1)} ms alone, ${one.besideMs.toFixed(1)} ms beside ten times its load (${(one.answeredRatio * 100).toFixed(1)} % answered); generator ${(one.beside.cpuRatio * 100).toFixed(0)} % of a core`,
    );
  }
  figures["lightTenantP99Ratio"] = median(light);
  return { figures, rows };
}

/** The same loads for other people's servers, in fewer rounds: what they do with requests that nobody waits for any more. */
async function measurePeers(
  generator: Generator,
  file: string,
  { say, seed, args }: BenchContext,
): Promise<Measured & { readonly notRun: readonly string[] }> {
  const figures: Record<string, number> = {};
  const rows: Row[] = [];
  const notRun: string[] = [];
  for (const start of overloadPeers({ file, rowShape, deadlineMs: deadlineMs - wayBackMs })) {
    const peer = await start();
    if ("why" in peer) {
      notRun.push(`${peer.name}: ${peer.why}`);
      say(`  ${peer.name} is left out: ${peer.why}`);
      continue;
    }
    try {
      const { name, settings, port, asks } = peer;
      say(`  ${name}: ${settings}`);
      const server = { port, loopDelay: () => Promise.resolve({ maxMs: NaN, p99Ms: NaN }) };
      const place: Place = { server, generator, expected: "", asks };
      const most = await capacity(place);
      if (most === 0) {
        notRun.push(`${name}: it gave no right answer in time at any load`);
        continue;
      }
      const note = (row: Row): void => {
        rows.push({ server: name, ...row });
        if (row["goodPerSecond"] !== undefined) say(told(row));
      };
      const good: Record<string, number[]> = {};
      for (let round = 0; round < Math.min(3, roundsOf(args)); round++) {
        for (const [load, factor] of [
          ["1x", 1],
          ["2x", 2],
          ["10x", 10],
        ] as const) {
          const phase = await open(place, load, factor * most, 4, seed + 100 * round + factor);
          note(rowOf(phase, round));
          (good[load] ??= []).push(phase.goodPerSecond);
        }
      }
      const peak = Math.max(most, median(good["1x"] ?? []));
      const key = name.replace(/-./g, (letter) => letter.slice(1).toUpperCase());
      figures[`${key}PeakPerSecond`] = peak;
      figures[`${key}Goodput2x`] = median(good["2x"] ?? []) / peak;
      figures[`${key}Goodput10x`] = median(good["10x"] ?? []) / peak;
      figures[`${key}ExpiredRefusalMs`] = (await expired(place, most, seed + 9000, note)).p99Ms;
    } finally {
      await peer.close();
    }
  }
  return { figures, rows, notRun };
}

function withPeers(ours: Measured, peers: Measured): Measured {
  return {
    figures: { ...ours.figures, ...peers.figures },
    rows: [...ours.rows, ...peers.rows],
    ...(peers.notRun ? { notRun: peers.notRun } : {}),
  };
}

/** A server that is asked for more than it can do. */
export const bench: Bench = {
  name: "overload",
  about: `longshore serve and a load generator, two processes over loopback; bodies of ${tensorBytes} bytes, answers within ${deadlineMs} ms`,
  bars: {
    goodput2x: { atLeast: 0.95 },
    goodput10x: { atLeast: 0.9 },
    refusalMs: { atMost: 5 },
    expiredRefusalMs: { atMost: 10 },
    recoverySeconds: { atMost: 30 },
    lightTenantP99Ratio: { atMost: 1.3 },
  },
  async run(context): Promise<Measured> {
    const repository = mkdtempSync(join(tmpdir(), "longshore-overload-"));
    const model = smallConvolution(context.seed);
    mkdirSync(join(repository, "small", "1"), { recursive: true });
    writeFileSync(join(repository, "small", "1", "model.onnx"), model);
    const generator = await startGenerator();
    const server = await startServe(repository);
    const bare = await startBare();
    try {
      const expected = await rightAnswer(model);
      const place: Place = { server, generator, expected, asks: asksUs };
      const ours = await measure(place, { ...place, server: bare }, context);
      if (context.args.includes("--no-peers")) return ours;
      // Ours would take a core from them.
      await server.close();
      return withPeers(
        ours,
        await measurePeers(generator, join(repository, "small", "1", "model.onnx"), context),
      );
    } finally {
      generator.close();
      await bare.close();
      await server.close();
      rmSync(repository, { recursive: true });
    }
  },
};
