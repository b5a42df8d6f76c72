/**
 * `bench split --part quantize`: the two large OCR networks in 8 bits, ours beside Python's. One half of the sample images calibrates, the other half judges: text pixels of both
 * (detection), same best classes (recognition). Layers stay in FP32 until the agreement on the calibration half reaches 0.98.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom, type Tensors } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { quantise, type QuantiseInput, Unavailable } from "@longshore/conformance";
import {
  type Agreement,
  bestClassAgreement,
  graphAnswers,
  meanAgreement,
  quantizeModel,
  readModel,
  withHalfWeights,
  writeModel,
} from "@longshore/graph";
import type { InferenceSession } from "@longshore/engine";
import { onnxRuntime, sha256 } from "@longshore/nodejs";
import { type Bench, type BenchContext, type Measured, medianInterval, type Row } from "./harness.ts";
import { fedNetworks, pixelAgreement, textFrom } from "./ocr-networks.ts";

const call = housekeepingCall("bench-quantize");
const rounds = 15;

interface Network {
  readonly model: string;
  readonly figure: string;
  readonly agreement: Agreement;
  /** Agreement on the calibration inputs that layers are left out for. */
  readonly wanted: number;
}

const networks: readonly Network[] = [
  { model: "ocr-detect", figure: "int8DetectSpeedUp", agreement: pixelAgreement, wanted: 0.98 },
  { model: "ocr-recognise", figure: "int8RecogniseSpeedUp", agreement: bestClassAgreement, wanted: 0.98 },
];

/** Python's quantiser with the same calibration inputs; it takes every second input for that. */
async function byPython(
  file: Uint8Array,
  feeds: readonly Tensors[],
  held: readonly Tensors[],
): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), "longshore-quantize-"));
  const model = join(folder, "model.onnx");
  const [input = ""] = [...(feeds[0]?.keys() ?? [])];
  try {
    await writeFile(model, file);
    const made = await quantise({
      model,
      input,
      threshold: textFrom,
      async inputs(into) {
        const alternating = feeds.flatMap((one, at) => [one, held[at % held.length] ?? one]);
        const written: QuantiseInput[] = [];
        for (const [at, one] of alternating.entries()) {
          const tensor = one.get(input);
          if (!tensor) continue;
          const path = join(into, `${at}.f32`);
          await writeFile(path, tensor.bytes);
          written.push({ file: path, shape: tensor.spec.shape });
        }
        return written;
      },
    });
    return new Uint8Array(await readFile(made.file));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Milliseconds of each file on the same input, one thread, interleaved there and back. */
async function timed(
  files: ReadonlyMap<string, Uint8Array>,
  feeds: Tensors,
): Promise<ReadonlyMap<string, number[]>> {
  const runtime = onnxRuntime();
  const sessions: [string, InferenceSession][] = [];
  try {
    for (const [name, bytes] of files) {
      const artifact = {
        digest: await sha256(bytes),
        byteLength: bytes.byteLength,
        bytes: async () => bytes.slice(),
      };
      sessions.push([name, await runtime.load(artifact, { threads: 1 }, call)]);
    }
    const times = new Map<string, number[]>(sessions.map(([name]) => [name, []]));
    for (let round = -2; round < rounds; round++) {
      for (const [name, session] of round % 2 === 0 ? sessions : sessions.toReversed()) {
        const began = performance.now();
        await session.run(
          feeds,
          session.outputs.map((one) => one.name),
          call,
        );
        if (round >= 0) times.get(name)?.push(performance.now() - began);
      }
    }
    return times;
  } finally {
    await runtime.close();
  }
}

async function run(context: BenchContext): Promise<Measured> {
  const names = networks.map(({ model }) => model);
  const [calibration, test] = [await fedNetworks(names, "calibrating"), await fedNetworks(names, "judging")];
  const draw = seededRandom(context.seed);
  const figures: Record<string, number> = {};
  const rows: Row[] = [];
  const notRun: string[] = [];
  const runtime = onnxRuntime();
  const ratios: number[] = [];
  for (const { model, figure, agreement, wanted } of networks) {
    const [known, held] = [calibration.get(model), test.get(model)];
    if (!known || !held) continue;
    const { file, feeds } = known;
    const ours = await quantizeModel(
      { file, inputs: feeds, runtime, agreement, agreementRatio: wanted },
      call,
    );
    context.say(
      `${model}: ${ours.leftOut.length} of ${ours.leftOut.length + ours.layers.length} layers left out, ${ours.trials} sessions`,
    );
    const files = new Map([
      ["fp32", file],
      ["ours", ours.file],
      ["half weights", writeModel(withHalfWeights(readModel(file)))],
    ]);
    try {
      files.set("python", await byPython(file, feeds, held.feeds));
    } catch (thrown) {
      if (!(thrown instanceof Unavailable)) throw thrown;
      notRun.push(`agreementVsPython of ${model}: ${thrown.message}`);
    }
    // The input of median size.
    const sorted = held.feeds.toSorted((a, b) => elements(a) - elements(b));
    const middle = sorted[Math.floor(sorted.length / 2)] ?? new Map();
    const times = await timed(files, middle);
    const expected = await graphAnswers(readModel(file), held.feeds, runtime, call);
    const agreed = new Map<string, number>();
    for (const [name, bytes] of files) {
      const answers = await graphAnswers(readModel(bytes), held.feeds, runtime, call);
      agreed.set(name, meanAgreement(answers, expected, agreement));
      const raw = times.get(name) ?? [];
      const speedUps = raw.map((ms, round) => (times.get("fp32")?.[round] ?? NaN) / ms);
      const speedUp = medianInterval(speedUps, () => draw.next());
      if (name === "ours") figures[figure] = speedUp.median;
      rows.push({
        model,
        made: name,
        bytes: bytes.byteLength,
        agreement: agreed.get(name) ?? NaN,
        speedUp: speedUp.median,
        low: speedUp.low,
        high: speedUp.high,
        ms: raw.join(" "),
      });
      context.say(
        `  ${name.padEnd(12)} ${bytes.byteLength} bytes, agreement ${(agreed.get(name) ?? NaN).toFixed(4)}, ${speedUp.median.toFixed(2)} times as fast (95 %: ${speedUp.low.toFixed(2)}..${speedUp.high.toFixed(2)})`,
      );
    }
    if (files.has("python")) ratios.push((agreed.get("ours") ?? 0) / (agreed.get("python") ?? 1));
  }
  await runtime.close();
  if (ratios.length === networks.length) figures["agreementVsPython"] = Math.min(...ratios);
  return { figures, rows, ...(notRun.length > 0 ? { notRun } : {}) };
}

function elements(feeds: Tensors): number {
  return [...feeds.values()].reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
}

/** 8-bit networks of the OCR pipeline against fp32 and against Python's quantiser. */
export const bench: Bench = {
  name: "quantize",
  about: "8-bit networks, one thread: speed, size and agreement on images that no range was taken from",
  bars: {
    int8DetectSpeedUp: { atLeast: 1.4 },
    int8RecogniseSpeedUp: { atLeast: 1.25 },
    agreementVsPython: { atLeast: 1 },
  },
  run,
};
