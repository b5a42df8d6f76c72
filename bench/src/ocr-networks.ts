import { readFile } from "node:fs/promises";
import { bytesTensor, float32View, type Tensors } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { Agreement } from "@longshore/graph";
import { onnxRuntime } from "@longshore/nodejs";
import { sampleEngine, sampleInputs } from "@longshore/samples";
import { recordingRuntime } from "longshore/measure";

/** A network of the OCR pipeline, and what it was fed there. */
export interface FedNetwork {
  readonly file: Uint8Array;
  readonly feeds: readonly Tensors[];
}

/** Which images of the samples: ranges come from one half of them, tests from the other. */
export type Half = "calibrating" | "judging";

/** Inputs of each network that are kept of each half. */
const mostFeeds = 24;
/** Likelihood from which a pixel is text, as in PaddleOCR. */
export const textFrom = 0.3;

/** Pixels that both call text, over those that either does. */
export const pixelAgreement: Agreement = (actual, expected) => {
  let [both, either] = [0, 0];
  for (const [name, tensor] of expected) {
    const other = actual.get(name);
    const [a, b] = [other ? float32View(other) : new Float32Array(), float32View(tensor)];
    for (let at = 0; at < b.length; at++) {
      const [x, y] = [(a[at] ?? 0) > textFrom, (b[at] ?? 0) > textFrom];
      if (x && y) both++;
      if (x || y) either++;
    }
  }
  return either === 0 ? 1 : both / either;
};

/** Files of some networks, and what the pipeline fed them for one half of the images. */
export async function fedNetworks(
  models: readonly string[],
  half: Half,
): Promise<ReadonlyMap<string, FedNetwork>> {
  const call = housekeepingCall("bench-ocr");
  const recorder = recordingRuntime(onnxRuntime(), { feeds: mostFeeds });
  const { engine, run, close } = sampleEngine(recorder);
  try {
    const images = sampleInputs().filter(({ kind }) => kind === "image");
    const rest = half === "calibrating" ? 0 : 1;
    for (const { path } of images.filter((_, at) => at % 2 === rest)) {
      await run(
        "ocr",
        "640",
        new Map([["image", bytesTensor("image", [new Uint8Array(await readFile(path))])]]),
      );
    }
    const found = new Map<string, FedNetwork>();
    for (const model of models) {
      const segment = { model, version: "", digest: "", variant: "", from: "start", to: "end" };
      const artifact = await engine.artifact(segment, call);
      found.set(model, { file: await artifact.bytes(call), feeds: recorder.recorded(artifact.digest).feeds });
    }
    return found;
  } finally {
    await close();
  }
}
