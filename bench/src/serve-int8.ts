import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Quantised, quantise, type QuantiseInput, type ServedModel } from "@longshore/conformance";
import { bytesTensor, housekeepingCall, startCut } from "@longshore/core";
import { sampleEngine, sampleInputs } from "@longshore/samples";

/** Where the text detector's inputs are in the pipeline of text recognition. */
const cut = "frame-pixels";
const value = "frame-pixels.tensor";
/** Above this a pixel belongs to text: half of what the pipeline asks of a whole box. */
const threshold = 0.25;

/** The pictures of the samples as the detector takes them, written into a folder. */
async function detectorInputs(folder: string): Promise<readonly QuantiseInput[]> {
  const { engine, close } = sampleEngine();
  try {
    const made: QuantiseInput[] = [];
    for (const { path, kind } of sampleInputs()) {
      if (kind !== "image") continue;
      const { outputs } = await engine.infer(
        {
          segment: { model: "ocr", version: "", digest: "", variant: "", from: startCut, to: cut },
          inputs: new Map([["image", bytesTensor("image", [new Uint8Array(readFileSync(path))], [1])]]),
          codecs: {},
        },
        housekeepingCall("inputs"),
      );
      const tensor = outputs.get(value);
      if (!tensor)
        throw new Error(`the pipeline has no ${value} at ${cut}, but ${[...outputs.keys()].join(", ")}`);
      const file = join(folder, `${made.length}.f32`);
      writeFileSync(file, tensor.bytes);
      made.push({ file, shape: tensor.spec.shape });
    }
    return made;
  } finally {
    await close();
  }
}

/**
 * The text detector in 8 bits, made by Python's quantiser, calibrated on every second picture of the samples and compared
 * with the original on the others. Throws `Unavailable` where Python's packages cannot be had.
 */
export function int8Detector(detect: ServedModel): Promise<Quantised> {
  return quantise({ model: detect.file, input: detect.input.name, threshold, inputs: detectorInputs });
}
