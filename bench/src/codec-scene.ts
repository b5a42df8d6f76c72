import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  bytesTensor,
  float32Tensor,
  float32View,
  numericTensor,
  numericView,
  type Tensor,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import type { Runtime } from "@longshore/engine";
import { tensorAgreement } from "@longshore/graph";
import { sha256 } from "@longshore/nodejs";
import { sampleEngine, sampleInputs, sampleRepository } from "@longshore/samples";

/** Networks of the samples whose weights were trained. */
export const networks: readonly string[] = [
  "ocr-detect",
  "ocr-orient",
  "ocr-recognise",
  "vad",
  "language-scores",
  "anomaly",
];

/** The file of a sample network. */
export function networkBytes(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(sampleRepository(), name, "1/model.onnx")));
}

/** The real inputs of each network when the sample pipelines run on the sample inputs, at most `most` inputs each. */
export async function realInputs(
  runtime: Runtime,
  most: number,
): Promise<ReadonlyMap<string, readonly Tensors[]>> {
  const byDigest = new Map<string, Tensors[]>();
  const recording: Runtime = {
    name: runtime.name,
    close: () => Promise.resolve(),
    async load(artifact, options, loading) {
      const session = await runtime.load(artifact, options, loading);
      return {
        inputs: session.inputs,
        outputs: session.outputs,
        idle: () => session.idle(),
        release: () => session.release(),
        run(feeds, fetches, running) {
          const copy = [...feeds].map(([name, { spec, bytes }]): [string, Tensor] => [
            name,
            { spec, bytes: bytes.slice() },
          ]);
          byDigest.set(artifact.digest, [...(byDigest.get(artifact.digest) ?? []), new Map(copy)]);
          return session.run(feeds, fetches, running);
        },
      };
    },
  };
  await runSamples(recording);
  const found = new Map<string, readonly Tensors[]>();
  for (const name of networks) {
    const all = byDigest.get(await sha256(networkBytes(name))) ?? [];
    const stride = Math.max(1, Math.floor(all.length / most));
    found.set(name, all.filter((_inputs, index) => index % stride === 0).slice(0, most));
  }
  return found;
}

async function runSamples(runtime: Runtime): Promise<void> {
  const samples = sampleEngine(runtime);
  const run = async (model: string, inputs: Tensors, step?: number): Promise<void> => {
    const sequence = step === undefined ? undefined : { id: "bench", step, end: false, wantState: false };
    await samples.run(model, "", inputs, sequence);
  };
  const inputs = sampleInputs();
  const files = (kind: string): readonly Buffer[] =>
    inputs.filter((input) => input.kind === kind).map(({ path }) => readFileSync(path));
  // every fourth image: real ones, receipts and pages are among them
  for (const file of files("image").filter((_file, index) => index % 4 === 3)) {
    await run("ocr", tensorsOf(bytesTensor("image", [new Uint8Array(file)])));
  }
  for (const file of files("text").slice(0, 12)) {
    await run("language", tensorsOf(bytesTensor("text", [new Uint8Array(file)])));
  }
  for (const file of files("series")) {
    // a .npy file: 8 bytes, the length of its header, the header, the values
    const values = new Float32Array(new Uint8Array(file.subarray(10 + file.readUInt16LE(8))).buffer);
    await run("anomaly", tensorsOf(float32Tensor("readings", [1, 32, 4096], values)));
  }
  for (const file of files("sound")) {
    const sound = Float32Array.from(
      { length: file.length / 2 },
      (_, at) => file.readInt16LE(2 * at) / 32_768,
    );
    for (let at = 64, step = 0; at + 512 <= sound.length; at += 512, step++) {
      const frame = float32Tensor("input", [1, 576], sound.slice(at - 64, at + 512));
      await run("vad", tensorsOf(frame, numericTensor("sr", "INT64", [], BigInt64Array.of(16_000n))), step);
    }
  }
  await samples.close();
}

/**
 * Agreement of what the network is for: of the detector, text or not by pixel (twice the common pixels over all, at its
 * threshold of 0.3); of classifiers and the recogniser, the best class of each row; of the voice detector, speech or not. Anomalies are
 * scored by how near the scores are, and so are networks of seeded weights.
 */
export function taskAgreement(name: string, actual: Tensors, expected: Tensors): number {
  const [output] = [...expected.keys()].filter((key) => key !== "stateN");
  const [a, b] = [actual.get(output ?? ""), expected.get(output ?? "")];
  if (!a || !b) return 0;
  if (name === "ocr-detect") return overlap(float32View(a), float32View(b), 0.3);
  if (name === "vad") return share(float32View(a), float32View(b), (value) => value > 0.5);
  if (name === "anomaly") {
    const scores = expected.get("score");
    const got = actual.get("score");
    if (!scores || !got) return 0;
    return (
      1 - Math.max(...float32View(scores).map((value, at) => Math.abs(value - (float32View(got)[at] ?? NaN))))
    );
  }
  if (!["ocr-orient", "ocr-recognise", "language-scores"].includes(name))
    return tensorAgreement(actual, expected);
  const classes = b.spec.shape.at(-1) ?? 1;
  const best = (tensor: Tensor): readonly number[] => {
    const values = numericView(tensor) as Float32Array;
    return Array.from({ length: values.length / classes }, (_, row) => {
      const scores = values.subarray(row * classes, (row + 1) * classes);
      return scores.reduce((most, value, at) => (value > (scores[most] ?? 0) ? at : most), 0);
    });
  };
  const [x, y] = [best(a), best(b)];
  return y.filter((one, row) => one === x[row]).length / Math.max(1, y.length);
}

function overlap(a: Float32Array, b: Float32Array, above: number): number {
  let [both, all] = [0, 0];
  for (const [at, value] of b.entries()) {
    const [x, y] = [(a[at] ?? 0) > above, value > above];
    if (x && y) both += 2;
    all += Number(x) + Number(y);
  }
  return all === 0 ? 1 : both / all;
}

function share(a: Float32Array, b: Float32Array, said: (value: number) => boolean): number {
  return b.filter((value, at) => said(value) === said(a[at] ?? NaN)).length / Math.max(1, b.length);
}
