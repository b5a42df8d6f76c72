/**
 * `bench fast`: server and gateway without options, beside a built checkout of an earlier commit (`--former`), ONNX Runtime alone, and Envoy.
 *
 * - `small`, `one`, `grpc`: the dense network of `bench serve` as a bare ONNX file, over 8, 1 and 8 connections. Both builds run on one core and are loaded in turns (A B B A).
 * - `detect`: the text detector of 640 pixels over gRPC and HTTP of one server. `recognise`: the text recogniser beside ONNX Runtime in a loop.
 * - `start`: requests answered in the first second after the server is ready, over those in a second when warm.
 * - `gateway`: the added p99 at 600 kB of `bench gateway`, over that of Envoy where Envoy's is above the noise; else it is not judged.
 * - `batched`: each answer to requests of mixed magnitudes over 32 connections is compared, bit for bit, with that of the same request alone.
 *
 * Parts that cannot be measured are named and skipped.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type RunningPeer, type ServedModel, startOwn, Unavailable } from "@longshore/conformance";
import { seededRandom } from "@longshore/core";
import { batchedAnswers } from "./batched-answers.ts";
import { bench as gatewayBench } from "./gateway.ts";
import {
  type Bench,
  type BenchContext,
  chosenOf,
  type Measured,
  median,
  numberOf,
  optionOf,
  type Row,
  saidMedian,
} from "./harness.ts";
import { Connection } from "./load/connection.ts";
import { benchRequest, type Wire } from "./serve-bodies.ts";
import { type Generator, openGenerator } from "./serve-load.ts";
import { benchModels, type ModelName } from "./serve-models.ts";
import { medianOf, type Pair, runRounds } from "./serve-rounds.ts";
import { startSubjects, type Subject } from "./serve-subjects.ts";

/** Parts that can be measured alone. */
const partNames = ["small", "one", "grpc", "detect", "recognise", "start", "gateway", "batched"] as const;
type Part = (typeof partNames)[number];

/** The figures of each part, and which of them need another build. */
const figuresOf: Readonly<Record<Part, readonly string[]>> = {
  small: ["defaultVsFormer8", "p99VsFormer8"],
  one: ["oneConnectionVsFormer"],
  grpc: ["grpcSmallVsFormer"],
  detect: ["grpcVsHttpDetect"],
  recognise: ["recogniseVsRaw"],
  start: ["firstSecondVsWarm"],
  gateway: ["gatewayP99VsEnvoy600k"],
  batched: ["answersBeyondTolerance"],
};
const besideFormer: readonly Part[] = ["small", "one", "grpc"];

const bars: Bench["bars"] = {
  defaultVsFormer8: { atLeast: 2 },
  oneConnectionVsFormer: { atLeast: 1.25 },
  grpcVsHttpDetect: { atLeast: 0.95 },
  grpcSmallVsFormer: { atLeast: 1.4 },
  recogniseVsRaw: { atLeast: 0.93 },
  firstSecondVsWarm: { atLeast: 0.5 },
  p99VsFormer8: { atMost: 0.5 },
  gatewayP99VsEnvoy600k: { atMost: 3 },
  answersBeyondTolerance: { atMost: 0 },
};

interface Plan {
  readonly parts: readonly Part[];
  readonly former: string | undefined;
  readonly rounds: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** Answers of the part `batched`. */
  readonly answers: number;
}

/** The command of a checkout, built. Throws where there is none. */
function commandOf(checkout: string): string {
  const command = resolve(checkout, "packages/longshore/bin/longshore.js");
  if (existsSync(resolve(checkout, "packages/longshore/dist/command/main.js"))) return command;
  throw new Error(`there is no built checkout in ${checkout} (--former): run npm run build there`);
}

/** Of networks that run for a good part of a second on a busy machine, shorter windows say nothing. */
const leastLongSeconds = 10;
/** Servers and generator have a core each. */
const serverCores = [0];
const generatorCores = [1];
const connections = 8;

/** A server of some build over a repository, by defaults. */
const startBuild = (repository: string, command?: string): Promise<RunningPeer> =>
  startOwn({
    repository,
    cores: serverCores,
    args: ["--log-level", "none"],
    ...(command === undefined ? {} : { command }),
  });

/** A repository of one model that says nothing of itself. */
function bareRepository(folder: string, { name, file }: ServedModel): string {
  const version = join(folder, name, name, "1");
  mkdirSync(version, { recursive: true });
  copyFileSync(file, join(version, "model.onnx"));
  return join(folder, name);
}

function subjectOf(
  name: string,
  peer: RunningPeer,
  model: ServedModel,
  wire: Wire,
  generator: Generator,
): Subject {
  const request = benchRequest(model, wire);
  return {
    name,
    settings: peer.settings,
    measure: (concurrency, seconds) =>
      generator.load(peer, { model, wire, request, concurrency, seconds, cores: generatorCores }),
  };
}

/** The tools that measure the parts, and their collected results. */
interface Measuring extends Plan {
  readonly context: BenchContext;
  readonly folder: string;
  readonly models: Readonly<Record<ModelName, ServedModel>>;
  readonly generator: Generator;
  readonly figures: Record<string, number>;
  readonly rows: Row[];
}

async function compare(
  { context, figures, rows, rounds, seconds, warmUpSeconds }: Measuring,
  part: Part,
  subjects: readonly Subject[],
  concurrency: number,
  pairs: readonly Omit<Pair, "bar">[],
): Promise<void> {
  const measured = await runRounds(subjects, {
    concurrency,
    seconds,
    rounds,
    maxRounds: rounds,
    pairs: pairs.map((pair) => ({ ...pair, bar: undefined })),
    seed: context.seed,
    warmUpSeconds,
  });
  for (const [subject, loads] of measured.loads) {
    rows.push(...loads.map((load, round) => ({ part, subject, concurrency, round, ...load })));
    const of = (what: "perSecond" | "p50Ms" | "p99Ms" | "cpuMicros", digits: number): string =>
      medianOf(loads, what).toFixed(digits);
    context.say(
      `${part.padEnd(9)} ${subject.padEnd(12)} ${concurrency} connections: ${of("perSecond", 0)}/s, p50 ${of("p50Ms", 2)} ms, p99 ${of("p99Ms", 2)} ms, cpu ${of("cpuMicros", 0)} us`,
    );
  }
  for (const [figure, { median: middle, low, high }] of measured.compared) {
    figures[figure] = middle;
    context.say(`  ${figure} ${middle.toFixed(3)} (95 %: ${low.toFixed(3)}..${high.toFixed(3)})`);
  }
}

/** A small model by default, beside the former build on the same core. */
async function besides(measuring: Measuring, former: string): Promise<void> {
  const { folder, models, generator, parts } = measuring;
  const repository = bareRepository(folder, models.dense);
  const ours = await startBuild(repository);
  const theirs = await startBuild(repository, former).catch(async (thrown: unknown) => {
    await ours.close();
    throw thrown;
  });
  const peers = { ours, former: theirs };
  const subjects = (wire: Wire): readonly Subject[] =>
    Object.entries(peers).map(([name, peer]) => subjectOf(name, peer, models.dense, wire, generator));
  const pair = (figure: string, what: Pair["what"] = "perSecond") => ({
    figure,
    ours: "ours",
    theirs: "former",
    what,
  });
  try {
    if (parts.includes("small"))
      await compare(measuring, "small", subjects("http"), connections, [
        pair("defaultVsFormer8"),
        pair("p99VsFormer8", "p99Ms"),
      ]);
    if (parts.includes("one"))
      await compare(measuring, "one", subjects("http"), 1, [pair("oneConnectionVsFormer")]);
    if (parts.includes("grpc"))
      await compare(measuring, "grpc", subjects("grpc"), connections, [pair("grpcSmallVsFormer")]);
  } finally {
    await Promise.all([ours.close(), theirs.close()]);
  }
}

/** The detector over both wires of one server. */
async function detect(measuring: Measuring): Promise<void> {
  const { folder, models, generator } = measuring;
  const peer = await startBuild(bareRepository(folder, models.detect));
  try {
    const seconds = Math.max(measuring.seconds, leastLongSeconds);
    const subjects = (["grpc", "http"] as const).map((wire) =>
      subjectOf(wire, peer, models.detect, wire, generator),
    );
    await compare({ ...measuring, seconds }, "detect", subjects, connections, [
      { figure: "grpcVsHttpDetect", ours: "grpc", theirs: "http", what: "perSecond" },
    ]);
  } finally {
    await peer.close();
  }
}

/** The recogniser beside ONNX Runtime alone in a loop. */
async function recognise(measuring: Measuring): Promise<void> {
  const { folder, models, generator, context } = measuring;
  const model = models.recognise;
  const peer = await startBuild(bareRepository(folder, model));
  try {
    await using raw = await startSubjects(
      {
        model,
        cores: serverCores,
        generatorCores,
        only: ["raw"],
        tritonBackend: undefined,
        say: context.say,
      },
      generator,
    );
    const seconds = Math.max(measuring.seconds, leastLongSeconds);
    const subjects = [...raw.subjects, subjectOf("ours", peer, model, "http", generator)];
    await compare({ ...measuring, seconds }, "recognise", subjects, connections, [
      { figure: "recogniseVsRaw", ours: "ours", theirs: "raw", what: "perSecond" },
    ]);
  } finally {
    await peer.close();
  }
}

/** Requests that are answered within a while, over connections that send again at once. */
async function answeredIn(peer: RunningPeer, model: ServedModel, ms: number): Promise<number> {
  const { path, headers, body } = benchRequest(model, "http");
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: ${body.byteLength}\r\n${lines.join("")}\r\n`;
  const endMs = performance.now() + ms;
  let answered = 0;
  const client = async (): Promise<void> => {
    const connection = new Connection(Number(peer.http.split(":")[1]));
    while (performance.now() < endMs) {
      const { status } = await connection.send(head, Buffer.from(body));
      if (status !== 200) throw new Error(`a request was answered with status ${status}`);
      if (performance.now() < endMs) answered++;
    }
    connection.close();
  };
  await Promise.all(Array.from({ length: connections }, client));
  return answered;
}

/** The first second after a server says that it is ready, beside one when it is warm. */
async function start(measuring: Measuring): Promise<void> {
  const { context, folder, models, rounds, warmUpSeconds, figures, rows, former } = measuring;
  const { say, seed } = context;
  const random = seededRandom(seed);
  const repository = bareRepository(folder, models.dense);
  const builds = { ours: undefined, ...(former === undefined ? {} : { former }) };
  const ratios = new Map<string, number[]>(Object.keys(builds).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, command] of Object.entries(builds)) {
      const startedMs = performance.now();
      const peer = await startBuild(repository, command);
      try {
        const readyMs = performance.now() - startedMs;
        const first = await answeredIn(peer, models.dense, 1000);
        await answeredIn(peer, models.dense, warmUpSeconds * 1000);
        const warm = await answeredIn(peer, models.dense, 1000);
        ratios.get(name)?.push(first / warm);
        rows.push({ part: "start", subject: name, round, readyMs, first, warm });
        say(
          `start     ${name.padEnd(12)} ready in ${readyMs.toFixed(0)} ms, first second ${first}, warm ${warm}`,
        );
      } finally {
        await peer.close();
      }
    }
  }
  figures["firstSecondVsWarm"] = saidMedian(
    { say, figure: "firstSecondVsWarm", draw: () => random.next() },
    ratios.get("ours") ?? [],
  );
  const theirs = ratios.get("former");
  if (theirs) say(`  of the former build ${median(theirs).toFixed(3)}`);
}

async function gateway({ context, figures, rows }: Measuring): Promise<string | undefined> {
  const measured = await gatewayBench.run({ ...context, args: [] });
  rows.push(...measured.rows.map((row) => ({ part: "gateway", ...row })));
  const { addedP99VsEnvoy600k: ratio } = measured.figures;
  if (ratio === undefined) return measured.notRun?.at(-1) ?? "Envoy is missing";
  figures["gatewayP99VsEnvoy600k"] = ratio;
  return undefined;
}

/** Answers of requests that share runs by default, beside those of the same requests alone. */
async function batched({ context, folder, figures, rows, answers }: Measuring): Promise<void> {
  const found = await batchedAnswers(folder, answers, context.seed, context.say);
  rows.push(...found.rows);
  figures["answersBeyondTolerance"] = found.beyond;
}

async function run(context: BenchContext): Promise<Measured> {
  const { args, say } = context;
  const parts = chosenOf(args, "part", partNames) ?? partNames;
  const checkout = optionOf(args, "former");
  const former = checkout === undefined ? undefined : commandOf(checkout);
  const notRun: string[] = [];
  const skip = (part: Part, why: string): void => {
    const line = `${figuresOf[part].join(", ")}: ${why}`;
    notRun.push(line);
    say(`not measured: ${line}`);
  };
  const folder = mkdtempSync(join(tmpdir(), "longshore-bench-fast-"));
  using made = benchModels();
  const figures: Record<string, number> = {};
  const rows: Row[] = [];
  try {
    using generator = await openGenerator();
    const measuring: Measuring = {
      parts,
      former,
      rounds: numberOf(args, "rounds", 7),
      seconds: numberOf(args, "seconds", 3),
      warmUpSeconds: numberOf(args, "warm-up", 8),
      answers: numberOf(args, "answers", 10_000),
      context,
      folder,
      models: made.models,
      generator,
      figures,
      rows,
    };
    const wanted = besideFormer.filter((part) => parts.includes(part));
    if (former === undefined)
      for (const part of wanted) skip(part, "no former build is named (--former DIR)");
    else if (wanted.length > 0) await besides(measuring, former);
    const others: readonly (readonly [Part, () => Promise<string | undefined | void>])[] = [
      ["detect", () => detect(measuring)],
      ["recognise", () => recognise(measuring)],
      ["start", () => start(measuring)],
      ["gateway", () => gateway(measuring)],
      ["batched", () => batched(measuring)],
    ];
    for (const [part, measure] of others) {
      if (!parts.includes(part)) continue;
      const why = await measure();
      if (why !== undefined) skip(part, why);
    }
  } catch (thrown) {
    if (!(thrown instanceof Unavailable)) throw thrown;
    for (const part of parts)
      if (!figuresOf[part].some((figure) => figure in figures)) skip(part, thrown.message);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { figures, rows, notRun };
}

/** The server and the gateway as they are without tuning, beside an earlier build of them and beside others. */
export const bench: Bench = {
  name: "fast",
  about:
    "server and gateway by default, interleaved with a former build (--former DIR, built), raw ONNX Runtime and Envoy",
  options: ["--former DIR", "--part NAME,...", "--rounds N", "--seconds N", "--warm-up N", "--answers N"],
  bars,
  run,
};
