import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { withSeededWeights } from "@longshore/graph";
import type { BenchContext } from "./harness.ts";

/** A graph of a bench by its path. */
export interface NamedFile {
  readonly name: string;
  read(): Uint8Array;
}

function onnxFiles(folder: string, prefix = ""): readonly NamedFile[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    const name = prefix === "" ? entry.name : `${prefix}/${entry.name}`;
    if (entry.isDirectory()) return onnxFiles(path, name);
    return entry.name.endsWith(".onnx") ? [{ name, read: () => new Uint8Array(readFileSync(path)) }] : [];
  });
}

/** The graphs of the sample repository, as the build assembled it. */
function sampleFiles(): readonly NamedFile[] {
  return onnxFiles(fileURLToPath(new URL("../../samples/repository", import.meta.url)));
}

/** Published architectures without their weights; seeded ones replace them, or every answer would be equal. */
function lightFiles({ data, seed }: BenchContext): readonly NamedFile[] {
  if (data === undefined) return [];
  return onnxFiles(join(data, "models/light")).map((file) => ({
    name: file.name,
    read: () => withSeededWeights(file.read(), seed),
  }));
}

/** The graphs of the samples, and the published architectures where there is data. */
export function graphFiles(context: BenchContext): readonly NamedFile[] {
  return [...sampleFiles(), ...lightFiles(context)];
}
