import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { LongshoreError } from "@longshore/core";
import type { ModelStore } from "@longshore/engine";
import { folderStore } from "@longshore/nodejs";
import { installedSamples } from "./samples.ts";
import { singleFileStore } from "./single-file-store.ts";

/** A model that an argument of the command, or an option of the library, names. */
export interface OpenedModel {
  readonly store: ModelStore;
  /** Undefined when the argument names a whole repository. */
  readonly model: string | undefined;
  /** Folder of the model's version files, where a profile can be saved; undefined for a bare file. */
  readonly folder: string | undefined;
}

async function kindOf(path: string): Promise<"file" | "folder" | "other" | "nothing"> {
  try {
    const found = await stat(path);
    return found.isDirectory() ? "folder" : found.isFile() ? "file" : "other";
  } catch {
    return "nothing";
  }
}

async function isModelFolder(path: string): Promise<boolean> {
  const names = await readdir(path);
  return names.some((name) => name === "model.yaml" || name === "config.pbtxt" || /^\d+$/.test(name));
}

/**
 * Finds what `argument` names: an .onnx file, a model folder, a repository, `REPOSITORY/MODEL`, or the name of a sample
 * model when `@longshore/samples` is installed. Symbolic links are followed within the repository and `linkRoots`. Throws `unknown-model` saying where it looked.
 *
 * @example
 * ```ts
 * import { openModel } from "longshore";
 *
 * const { model } = await openModel("models/double");
 * console.log(model); // double
 * ```
 */
export async function openModel(
  argument: string,
  { linkRoots = [] }: { readonly linkRoots?: readonly string[] } = {},
): Promise<OpenedModel> {
  const path = resolve(argument);
  const kind = await kindOf(path);
  if (kind === "other") {
    throw new LongshoreError("unknown-model", "resolve", `${argument} is neither a file nor a folder`);
  }
  if (kind === "file") {
    if (extname(path) !== ".onnx") {
      throw new LongshoreError("unknown-model", "resolve", `${argument} is a file, but not an .onnx file`);
    }
    const model = modelName(basename(path, ".onnx"));
    return { store: singleFileStore(model, path), model, folder: undefined };
  }
  if (kind === "folder") {
    const real = await realpath(path);
    if (await isModelFolder(real))
      return { store: folderStore(dirname(real), { linkRoots }), model: basename(real), folder: real };
    return { store: folderStore(real, { linkRoots }), model: undefined, folder: undefined };
  }
  const samples = await installedSamples();
  if (
    samples !== undefined &&
    (await kindOf(join(samples, argument))) === "folder" &&
    !argument.includes("..")
  ) {
    return { store: folderStore(samples), model: argument, folder: join(samples, argument) };
  }
  throw new LongshoreError(
    "unknown-model",
    "resolve",
    `${argument} is no .onnx file, model folder or repository${samples === undefined ? ", and the sample models are not installed (npm install @longshore/samples)" : ", and no sample model has that name"}`,
  );
}

/** A model name made of a file's name: lower case letters, digits, `.`, `_` and `-`. */
export function modelName(fileName: string): string {
  const safe = fileName
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, "-")
    .replaceAll(/^[^a-z0-9]+/g, "");
  return safe.slice(0, 64) || "model";
}
