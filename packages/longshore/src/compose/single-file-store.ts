import { readFile, stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { ModelStore } from "@longshore/engine";
import { folderStore } from "@longshore/nodejs";
import { wholeModel } from "../model-file/whole-models.ts";

/** A repository of one model with one version: a single .onnx file, with the weights that it may keep beside it. */
export function singleFileStore(model: string, path: string): ModelStore {
  const beside = folderStore(dirname(path));
  return {
    async list(at) {
      if (at === "" || at === ".") return [{ name: model, directory: true, bytes: 0 }];
      if (at === model) return [{ name: "1", directory: true, bytes: 0 }];
      if (at === `${model}/1`)
        return [{ name: "model.onnx", directory: false, bytes: (await stat(path)).size }];
      return undefined;
    },
    async read(at) {
      if (at !== `${model}/1/model.onnx`) return undefined;
      return wholeModel(new Uint8Array(await readFile(path)), (file) => beside.read(file));
    },
  };
}
