import { readFile, stat } from "node:fs/promises";
import type { ModelStore } from "@longshore/engine";

/** A repository of one model with one version: a single .onnx file. */
export function singleFileStore(model: string, path: string): ModelStore {
  return {
    async list(at) {
      if (at === "" || at === ".") return [{ name: model, directory: true, bytes: 0 }];
      if (at === model) return [{ name: "1", directory: true, bytes: 0 }];
      if (at === `${model}/1`)
        return [{ name: "model.onnx", directory: false, bytes: (await stat(path)).size }];
      return undefined;
    },
    async read(at) {
      return at === `${model}/1/model.onnx` ? new Uint8Array(await readFile(path)) : undefined;
    },
  };
}
