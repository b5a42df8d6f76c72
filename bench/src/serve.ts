import { cpus } from "node:os";
import { join } from "node:path";
import {
  type Bench,
  type BenchContext,
  chosenOf,
  type Measured,
  numberOf,
  optionOf,
  type Row,
} from "./harness.ts";
import { int8Detector } from "./serve-int8.ts";
import { type Generator, openGenerator } from "./serve-load.ts";
import { openPerfAnalyzer, perfPairs, perfServers, perfWires } from "./serve-perf.ts";
import { type BenchModels, benchModels, type ModelName } from "./serve-models.ts";
import { medianOf, type Pair, type Rounds, runRounds } from "./serve-rounds.ts";
import { startSubjects, type Subjects } from "./serve-subjects.ts";

/** Options of this bench, so that a part of the table can be measured alone. */
interface Options {
  readonly models: readonly ModelName[];
  readonly concurrencies: readonly number[];
  /** Numbers of cores that servers are held to. */
  readonly coreCounts: readonly number[];
  readonly only: readonly string[] | undefined;
  readonly rounds: number;
  readonly maxRounds: number;
  readonly seconds: number;
  /** Of each server, before the first round: one under Node.js compiles for its first 30,000 small requests. */
  readonly warmUpSeconds: number;
  readonly tritonBackend: string | undefined;
  /** Loaded by perf_analyzer, which makes a table of its own. */
  readonly perf: boolean;
  /** File of the detector in 8 bits, made where it is not there. */
  readonly int8: string | undefined;
}

const modelNames: readonly ModelName[] = ["identity", "dense", "recognise", "detect"];

function readOptions(args: readonly string[]): Options {
  const numbers = (name: string, fallback: string): number[] =>
    (optionOf(args, name) ?? fallback).split(",").map(Number);
  const rounds = numberOf(args, "rounds", 7);
  const perf = args.includes("--perf-analyzer");
  return {
    models: chosenOf(args, "model", modelNames) ?? modelNames,
    concurrencies: numbers("concurrency", "1,8,32"),
    coreCounts: numbers("cores", "1,2"),
    only: optionOf(args, "servers")?.split(",") ?? (perf ? perfServers : undefined),
    rounds,
    maxRounds: Math.max(rounds, numberOf(args, "max-rounds", 15)),
    seconds: numberOf(args, "seconds", 4),
    warmUpSeconds: numberOf(args, "warm-up", 8),
    tritonBackend: optionOf(args, "triton-backend"),
    perf,
    int8: optionOf(args, "int8"),
  };
}

/** The bars of the comparison. */
const bars: Bench["bars"] = {
  cnnVsRaw: { atLeast: 0.85 },
  cnnVsTritonPython: { atLeast: 1 },
  denseVsTritonPython: { atLeast: 2 },
  cnnInt8VsTriton: { atLeast: 1.4 },
  cnnInt8VsTritonInt8: { atLeast: 1 },
  cnnVsTritonOrt: { atLeast: 1 },
  denseVsTritonOrt: { atLeast: 1 },
  dense32VsTritonOrt: { atLeast: 1 },
  allCoresVsTritonOrt: { atLeast: 1 },
  vsMlserverHttp: { atLeast: 3 },
  vsMlserverGrpc: { atLeast: 2 },
  denseVsMlserverHttp: { atLeast: 8 },
  denseVsMlserverGrpc: { atLeast: 8 },
  p99VsTritonPython: { atMost: 1.2 },
  denseP99VsTritonPython: { atMost: 1.2 },
};

const http = "longshore/http";
const grpc = "longshore/grpc";

/** The comparisons that a cell of the table answers. */
function pairsOf(model: ModelName, concurrency: number, cores: number): readonly Pair[] {
  const pair = (figure: string, ours: string, theirs: string, what: Pair["what"] = "perSecond"): Pair => {
    const bar = bars[figure];
    return { figure, ours, theirs, what, bar: bar?.atLeast ?? bar?.atMost };
  };
  const at = `${model}/${concurrency}/${cores}`;
  switch (at) {
    case "detect/8/1":
      return [
        pair("cnnVsRaw", http, "raw"),
        pair("cnnVsTritonPython", http, "triton-python/http"),
        pair("p99VsTritonPython", http, "triton-python/http", "p99Ms"),
        pair("cnnInt8VsTriton", "longshore-int8/http", "triton-python/http"),
        pair("cnnInt8VsTritonInt8", "longshore-int8/http", "triton-python-int8/http"),
        pair("cnnVsTritonOrt", http, "triton-ort/http"),
        pair("cnnGrpcVsTritonOrt", grpc, "triton-ort/grpc"),
        pair("vsMlserverHttp", http, "mlserver/json"),
        pair("vsMlserverGrpc", grpc, "mlserver/grpc"),
        pair("cnnGrpcVsRaw", grpc, "raw"),
        pair("cnnGrpcVsTritonPython", grpc, "triton-python/grpc"),
        pair("cnnVsKserve", http, "kserve/http"),
        pair("cnnVsLitserve", http, "litserve/form"),
      ];
    case "detect/8/2":
      return [
        pair("allCoresVsTritonOrt", http, "triton-ort/http"),
        pair("allCoresGrpcVsTritonOrt", grpc, "triton-ort/grpc"),
        pair("allCoresVsTritonPython", http, "triton-python/http"),
        pair("allCoresVsRaw", http, "raw"),
      ];
    case "dense/8/1":
      return [
        pair("denseVsTritonPython", http, "triton-python/http"),
        pair("denseP99VsTritonPython", http, "triton-python/http", "p99Ms"),
        pair("denseVsTritonOrt", http, "triton-ort/http"),
        pair("denseGrpcVsTritonOrt", grpc, "triton-ort/grpc"),
        pair("denseVsMlserverHttp", http, "mlserver/json"),
        pair("denseVsMlserverGrpc", grpc, "mlserver/grpc"),
        pair("denseGrpcVsTritonPython", grpc, "triton-python/grpc"),
        pair("denseVsKserve", http, "kserve/http"),
        pair("denseVsLitserve", http, "litserve/form"),
      ];
    case "dense/32/1":
      return [
        pair("dense32VsTritonPython", http, "triton-python/http"),
        pair("dense32VsTritonOrt", http, "triton-ort/http"),
        pair("dense32GrpcVsTritonOrt", grpc, "triton-ort/grpc"),
        pair("dense32GrpcVsTritonPython", grpc, "triton-python/grpc"),
      ];
    case "recognise/8/1":
      return [
        pair("recogniseVsRaw", http, "raw"),
        pair("recogniseVsTritonPython", http, "triton-python/http"),
        pair("recogniseVsMlserverHttp", http, "mlserver/json"),
        pair("recogniseVsMlserverGrpc", grpc, "mlserver/grpc"),
      ];
    default:
      return [];
  }
}

function print(context: BenchContext, rounds: Rounds, settings: ReadonlyMap<string, string>): void {
  for (const [name, loads] of rounds.loads) {
    const figure = (what: Parameters<typeof medianOf>[1], digits: number): string =>
      medianOf(loads, what).toFixed(digits);
    const rate = medianOf(loads, "perSecond");
    const failed = loads.reduce((sum, load) => sum + load.failed, 0);
    const [between, server] =
      loads[0]?.queueMicros === undefined
        ? ["", ""]
        : [
            `p90 ${figure("p90Ms", 2)} ms  p95 ${figure("p95Ms", 2)} ms  `,
            `  queue ${figure("queueMicros", 0)} input ${figure("inputMicros", 0)} infer ${figure("inferMicros", 0)} output ${figure("outputMicros", 0)} us`,
          ];
    context.say(
      `    ${name.padEnd(20)} ${rate.toFixed(rate < 100 ? 2 : 0).padStart(8)}/s  p50 ${figure("p50Ms", 2)} ms  ${between}p99 ${figure("p99Ms", 2)} ms${server}  cpu ${figure("cpuMicros", 0)} us${failed > 0 ? `  ${failed} FAILED` : ""}  (${settings.get(name) ?? ""})`,
    );
  }
}

/** Servers of the detector in 8 bits, and how far that agrees with the original. */
interface Int8Subjects extends Subjects {
  readonly agreementRatio?: number;
}

const nobody: Int8Subjects = { subjects: [], missing: [], [Symbol.asyncDispose]: () => Promise.resolve() };

/** The servers of the detector in 8 bits: ours, and Triton with the same file. */
const int8Servers: readonly string[] = ["longshore-int8/http", "triton-python-int8/http"];

async function startInt8(
  options: Options,
  { models, folder }: BenchModels,
  cores: readonly number[],
  generatorCores: readonly number[],
  generator: Generator,
  { say }: BenchContext,
): Promise<Int8Subjects> {
  const only = int8Servers.filter(
    (name) => !options.only || options.only.includes(name) || options.only.includes(name.split("/")[0] ?? ""),
  );
  if (only.length === 0) return nobody;
  const file = options.int8 ?? join(folder, "detect-int8.onnx");
  const { agreementRatio } = await int8Detector(file, say);
  say(
    `  detect-int8 finds ${agreementRatio.toFixed(3)} of the same pixels on pictures that it was not made from`,
  );
  const model = { ...models.detect, name: "detect-int8", file };
  const started = await startSubjects(
    { model, cores, generatorCores, only, tritonBackend: undefined, suffix: "-int8", say },
    generator,
  );
  return { ...started, agreementRatio };
}

async function measure(context: BenchContext): Promise<Measured> {
  const options = readOptions(context.args);
  using models = benchModels();
  using generator = await (options.perf ? openPerfAnalyzer() : openGenerator());
  const figures: Record<string, number> = {};
  const rows: Row[] = [];
  const notRun = new Set<string>();
  for (const cores of options.coreCounts) {
    if (cores > cpus().length) {
      notRun.add(`${cores} cores: this machine has ${cpus().length}`);
      continue;
    }
    const all = Array.from({ length: cpus().length }, (_, index) => index);
    const own = all.slice(0, cores);
    // The remaining cores generate the load; if servers take all, the generator shares with them.
    const rest = all.slice(cores);
    const generatorCores = rest.length > 0 ? rest : all;
    for (const model of options.models) {
      context.say(
        `${model} [${models.models[model].input.shape.join(", ")}], servers on core ${own.join(",")}, generator on core ${generatorCores.join(",")}`,
      );
      await using started = await startSubjects(
        {
          model: models.models[model],
          cores: own,
          generatorCores,
          only: options.only,
          ...(options.perf ? { wires: perfWires } : {}),
          tritonBackend: options.tritonBackend,
          say: context.say,
        },
        generator,
      );
      await using small =
        model === "detect" && cores === 1 && !options.perf
          ? await startInt8(options, models, own, generatorCores, generator, context)
          : nobody;
      for (const line of [...started.missing, ...small.missing]) notRun.add(line);
      if (small.agreementRatio !== undefined) figures["int8AgreementRatio"] = small.agreementRatio;
      const subjects = [...started.subjects, ...small.subjects];
      const settings = new Map(subjects.map(({ name, settings: words }) => [name, words]));
      for (const concurrency of options.concurrencies) {
        const rounds = await runRounds(subjects, {
          concurrency,
          seconds: options.seconds,
          rounds: options.rounds,
          maxRounds: options.maxRounds,
          pairs: options.perf
            ? perfPairs(model, concurrency, cores, subjects)
            : pairsOf(model, concurrency, cores),
          seed: context.seed,
          warmUpSeconds: options.warmUpSeconds,
        });
        context.say(`  concurrency ${concurrency}`);
        print(context, rounds, settings);
        for (const [figure, { median, low, high }] of rounds.compared) {
          figures[figure] = median;
          const interval =
            options.maxRounds > 1 ? `95 %: ${low.toFixed(3)}..${high.toFixed(3)}` : "one round, no interval";
          context.say(
            `    ${figure} ${median.toFixed(3)} (${interval})${rounds.wide.includes(figure) ? ", still wide: more rounds are needed" : ""}`,
          );
        }
        for (const [subject, loads] of rounds.loads)
          for (const [round, load] of loads.entries())
            rows.push({ model, cores, concurrency, subject, round, ...load });
      }
    }
  }
  if (options.tritonBackend === undefined)
    notRun.add("triton-ort: no ONNX Runtime backend for Triton was given (--triton-backend DIR)");
  return { figures, rows, notRun: [...notRun] };
}

/** Our server beside other people's, each in its best settings on the same cores, loaded by the same generator. */
export const bench: Bench = {
  name: "serve",
  about:
    "requests a second, latencies and processor time of servers on the same cores under the same load, forth and back in every round",
  options: [
    "--model NAME,...",
    "--concurrency N,...",
    "--cores N,...",
    "--servers NAME[/WIRE],...",
    "--rounds N",
    "--max-rounds N",
    "--seconds N",
    "--warm-up N",
    "--triton-backend DIR",
    "--perf-analyzer",
    "--int8 FILE",
  ],
  bars,
  run: measure,
};
