/**
 * `bench split --part codec`: bytes, speed and error of crossings, at all cuts on the frontier of the trained networks of the samples, with the inputs that the sample
 * pipelines feed them. FP32 tensors only. `agreement`: how often the task's answer equals that of the whole network. Speed is FP32 bytes per second on one core.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, deflateRawSync } from "node:zlib";
import {
  type Call,
  type Codec,
  endCut,
  fp16Codec,
  int8ChannelCodec,
  int8ChannelDeflateCodec,
  int8Codec,
  int8DeflateCodec,
  startCut,
  type Tensor,
  type Tensors,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { Runtime } from "@longshore/engine";
import {
  artifactOfModel,
  cutTable,
  findInputs,
  promising,
  readModel,
  segmentOf,
  sketchCuts,
  splitGraph,
  tensorAgreement,
  withSeededWeights,
} from "@longshore/graph";
import { onnxRuntime, platformCompressor } from "@longshore/nodejs";
import { networkBytes, networks, realInputs, taskAgreement } from "./codec-scene.ts";
import { type Bench, type BenchContext, type Measured, mean, median, quantile, type Row } from "./harness.ts";

const ours = "int8-deflate";
const compressor = platformCompressor();
const codecs: readonly Codec[] = [
  fp16Codec,
  int8Codec,
  int8DeflateCodec({ compressor }),
  int8ChannelCodec,
  int8ChannelDeflateCodec({ compressor }),
];
/*
 * All frontier cuts are measured, on a sample of what can be measured at each: our codec with every input, because its
 * agreement is a figure, and in every round, because its speed is; the other codecs on fewer inputs and in fewer rounds, the
 * platform's coders once. A network whose runs are slow is given fewer inputs.
 */
const inputsEach = 6;
const slowMs = 60;
const inputsSlow = 3;
const inputsOthers = 2;
const rounds = 7;
const roundsOthers = 3;

/** Coders of the platform on the levels of `int8`; without prediction, as they are. */
const others: Readonly<Record<string, (bytes: Uint8Array) => Uint8Array>> = {
  "deflate-1": (bytes) => deflateRawSync(bytes, { level: 1 }),
  "deflate-6": (bytes) => deflateRawSync(bytes, { level: 6 }),
  // level 3 is what comes nearest to zstd's default in speed among what Node.js 20 has
  "brotli-3": (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 3 } }),
};

/** Bytes, time and agreement of codecs on real activations at the cuts of the frontier. */
export const bench: Bench = {
  name: "codec",
  about: "codecs on the activations at all frontier cuts inside the sample networks, on sample inputs",
  bars: {
    int8DeflateRatio: { atLeast: 5 },
    agreement: { atLeast: 0.995 },
    encodeMbPerSecond: { atLeast: 250 },
  },
  async run(context): Promise<Measured> {
    const call = housekeepingCall("bench-codec");
    const runtime = onnxRuntime();
    const rows: Row[] = [];
    try {
      const inputs = await realInputs(runtime, inputsEach);
      for (const name of networks) {
        rows.push(...(await measureNetwork(name, networkBytes(name), inputs.get(name) ?? [], runtime, call)));
        report(name, rows, context);
      }
      rows.push(...(await seededRows(context, runtime, call)));
    } finally {
      await runtime.close();
    }
    const trained = rows.filter((row) => row["weights"] === "trained");
    const own = trained.filter((row) => row["coder"] === ours);
    for (const coder of [...codecs.map(({ id }) => id), ...Object.keys(others)]) {
      const list = trained.filter((row) => row["coder"] === coder);
      const agreed =
        list[0]?.["agreement"] === null ? "as int8" : mean(numbers(list, "agreement")).toFixed(4);
      context.say(
        `${coder.padEnd(22)} ratio ${median(numbers(list, "ratio")).toFixed(2)}, agreement ${agreed}, ` +
          `encode ${speed(list, "encodeMs").toFixed(0)} MB/s`,
      );
    }
    for (const kind of new Set(own.map((row) => row["after"]))) {
      const list = own.filter((row) => row["after"] === kind);
      context.say(`after ${kind}: ${list.length} cuts, ratio ${median(numbers(list, "ratio")).toFixed(2)}`);
    }
    reportSeeded(
      rows.filter((row) => row["weights"] === "seeded"),
      context,
    );
    const figures = {
      int8DeflateRatio: median(numbers(own, "ratio")),
      agreement: mean(numbers(own, "agreement")),
      worstAgreement: Math.min(...numbers(own, "agreement")),
      medianTensorAgreement: median(numbers(own, "tensorAgreement")),
      encodeMbPerSecond: speed(own, "encodeMs"),
      decodeMbPerSecond: speed(own, "decodeMs"),
      p95EncodeMs: quantile(numbers(own, "encodeMs"), 0.95),
      cuts: own.length,
    };
    return { figures, rows, notRun: context.data === undefined ? ["seeded weights: no --data folder"] : [] };
  },
};

function report(name: string, rows: readonly Row[], context: BenchContext): void {
  for (const row of rows.filter((one) => one["network"] === name && one["coder"] === ours)) {
    context.say(
      `${name} ${String(row["cut"])} after ${String(row["after"])}: ${Number(row["floatBytes"])} bytes, ratio ` +
        `${Number(row["ratio"]).toFixed(2)}, agreement ${Number(row["agreement"]).toFixed(4)}, ` +
        `encode ${Number(row["encodeMs"]).toFixed(2)} ms, decode ${Number(row["decodeMs"]).toFixed(2)} ms`,
    );
  }
}

function numbers(list: readonly Row[], key: string): readonly number[] {
  return list.map((row) => Number(row[key]));
}

/** MB/s of some rows together. */
function speed(list: readonly Row[], key: string): number {
  const sum = (of: string): number => numbers(list, of).reduce((total, one) => total + one, 0);
  return sum("floatBytes") / 1000 / sum(key);
}

/** The function that activations follow, which distinguishes networks without trained weights. */
const kinds: Readonly<Record<string, string>> = { Relu: "ReLU", Clip: "Clip", HardSwish: "HardSwish" };

/** Networks with seeded weights, apart: no figure counts them. Agreement is that of the answers' numbers: they have no task. */
function reportSeeded(rows: readonly Row[], context: BenchContext): void {
  if (rows.length === 0) return;
  context.say("networks with seeded weights, apart:");
  for (const kind of [...Object.values(kinds), "others"]) {
    const those = rows.filter((row) => (kinds[String(row["after"])] ?? "others") === kind);
    if (those.length === 0) context.say(`after ${kind}: no cut of theirs is on the frontier`);
    for (const { id } of codecs) {
      const list = those.filter((row) => row["coder"] === id);
      if (list.length === 0) continue;
      const agreements = numbers(list, "agreement");
      context.say(
        `after ${kind}, ${id.padEnd(20)} ${list.length} cuts, ratio ${median(numbers(list, "ratio")).toFixed(2)}, ` +
          `agreement ${mean(agreements).toFixed(4)} (worst ${Math.min(...agreements).toFixed(4)}), ` +
          `encode ${speed(list, "encodeMs").toFixed(0)} MB/s, decode ${speed(list, "decodeMs").toFixed(0)} MB/s`,
      );
    }
  }
}

/** Published architectures with seeded weights, apart: small ones, one input each. */
async function seededRows(
  { data, seed }: BenchContext,
  runtime: Runtime,
  call: Call,
): Promise<readonly Row[]> {
  if (data === undefined) return [];
  const folder = join(data, "models/light");
  const rows: Row[] = [];
  for (const file of readdirSync(folder).filter((one) => /squeezenet|shufflenet|resnet/.test(one))) {
    const bytes = withSeededWeights(new Uint8Array(readFileSync(join(folder, file))), seed);
    const split = splitGraph(readModel(bytes));
    const inputs = await findInputs({ split, table: cutTable(split), digest: file }, runtime, [seed], call);
    const measured = await measureNetwork(file, bytes, inputs, runtime, call);
    rows.push(...measured.map((row) => ({ ...row, weights: "seeded" })));
  }
  return rows;
}

async function measureNetwork(
  name: string,
  bytes: Uint8Array,
  inputs: readonly Tensors[],
  runtime: Runtime,
  call: Call,
): Promise<readonly Row[]> {
  const split = splitGraph(readModel(bytes));
  const table = cutTable(split);
  const specs = [...(inputs[0] ?? new Map<string, Tensor>()).values()].map(({ spec }) => spec);
  const operators = new Map(
    split.nodes.flatMap((node) => node.output.map((output) => [output, node.opType])),
  );
  const whole = await runtime.load(artifactOfModel(split.model, name), {}, call);
  const answers: Tensors[] = [];
  let wholeMs = Infinity;
  for (const input of inputs) {
    if (wholeMs > slowMs && answers.length >= inputsSlow) break;
    const began = performance.now();
    answers.push(await whole.run(input, [], call));
    wholeMs = performance.now() - began;
  }
  await whole.release();
  const open = (from: string, to: string) =>
    runtime.load(artifactOfModel(segmentOf(split, table, from, to), `${name} ${from}..${to}`), {}, call);
  const rows: Row[] = [];
  for (const { cut } of promising(sketchCuts(split, table, specs), 16)) {
    if (cut.id === startCut || cut.id === endCut) continue;
    const [head, tail] = [await open(startCut, cut.id), await open(cut.id, endCut)];
    const crossings: Tensors[] = [];
    for (const input of inputs.slice(0, answers.length)) crossings.push(await head.run(input, [], call));
    const after = operators.get(largest(crossings[0] ?? new Map<string, Tensor>())) ?? "input";
    const common = { network: name, cut: cut.id, after, weights: "trained" };
    for (const codec of codecs) {
      const agreements: number[] = [];
      const norms: number[] = [];
      const coded = [];
      const own = codec.id === ours;
      for (const [index, crossing] of crossings.slice(0, own ? inputsEach : inputsOthers).entries()) {
        const one = await code(crossing, codec, own ? rounds : roundsOthers, call);
        coded.push(one);
        const answer = await tail.run(one.arrived, [], call);
        agreements.push(taskAgreement(name, answer, answers[index] ?? new Map<string, Tensor>()));
        norms.push(tensorAgreement(answer, answers[index] ?? new Map<string, Tensor>()));
      }
      rows.push({
        ...common,
        coder: codec.id,
        inputs: coded.length,
        ...means(coded),
        agreement: mean(agreements),
        tensorAgreement: mean(norms),
      });
    }
    for (const [coder, compress] of Object.entries(others)) {
      const [first] = crossings;
      const coded = first ? [await compressed(first, compress, call)] : [];
      rows.push({
        ...common,
        coder,
        inputs: coded.length,
        ...means(coded),
        agreement: null,
        tensorAgreement: null,
      });
    }
    await head.release();
    await tail.release();
  }
  return rows;
}

/** Name of the tensor that has most of the bytes. */
function largest(crossing: Tensors): string {
  return [...crossing.values()].reduce((most, one) => (one.bytes.length > most.bytes.length ? one : most))
    .spec.name;
}

interface Coded {
  readonly floatBytes: number;
  readonly codedBytes: number;
  readonly encodeMs: number;
  readonly decodeMs: number;
}

function means(coded: readonly Coded[]): Row {
  const of = (key: keyof Coded): number => mean(coded.map((one) => one[key]));
  return {
    floatBytes: of("floatBytes"),
    codedBytes: of("codedBytes"),
    ratio: of("floatBytes") / of("codedBytes"),
    encodeMs: of("encodeMs"),
    decodeMs: of("decodeMs"),
  };
}

/** FP32 tensors of a crossing by a codec, side tensors untouched and not counted; times are medians of some rounds. */
async function code(
  crossing: Tensors,
  codec: Codec,
  rounds: number,
  call: Call,
): Promise<Coded & { readonly arrived: Tensors }> {
  const arrived = new Map(crossing);
  let [floatBytes, codedBytes, encodeMs, decodeMs] = [0, 0, 0, 0];
  for (const [name, tensor] of crossing) {
    if (tensor.spec.datatype !== "FP32") continue;
    floatBytes += tensor.bytes.byteLength;
    if (!codec.accepts(tensor.spec)) {
      codedBytes += tensor.bytes.byteLength;
      continue;
    }
    const times: { encode: number[]; decode: number[] } = { encode: [], decode: [] };
    for (let round = 0; round < rounds; round++) {
      const began = performance.now();
      const encoded = await codec.encode(tensor, call);
      const between = performance.now();
      const decoded = await codec.decode(encoded, call);
      times.decode.push(performance.now() - between);
      times.encode.push(between - began);
      if (round > 0) continue;
      codedBytes += encoded.bytes.byteLength;
      arrived.set(name, decoded);
    }
    encodeMs += median(times.encode);
    decodeMs += median(times.decode);
  }
  return { floatBytes, codedBytes, encodeMs, decodeMs, arrived };
}

async function compressed(
  crossing: Tensors,
  compress: (bytes: Uint8Array) => Uint8Array,
  call: Call,
): Promise<Coded> {
  let [floatBytes, codedBytes, encodeMs] = [0, 0, 0];
  for (const tensor of crossing.values()) {
    if (tensor.spec.datatype !== "FP32") continue;
    const began = performance.now();
    const encoded = await int8Codec.encode(tensor, call);
    codedBytes += compress(encoded.bytes).byteLength;
    encodeMs += performance.now() - began;
    floatBytes += tensor.bytes.byteLength;
  }
  return { floatBytes, codedBytes, encodeMs, decodeMs: 0 };
}
