import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import type { ModelStore } from "@longshore/engine";
import { folderStore, readModelFile } from "@longshore/nodejs";

/**
 * A repository of one model with one version: a single .onnx file. The files beside it can be read, but are not listed:
 * which of them are weights of this model only the model says (`wholeModels`).
 */
export function singleFileStore(model: string, path: string): ModelStore {
  const beside = folderStore(dirname(path));
  const version = `${model}/1/`;
  return {
    async list(at) {
      if (at === "" || at === ".") return [{ name: model, directory: true, bytes: 0 }];
      if (at === model) return [{ name: "1", directory: true, bytes: 0 }];
      if (at === `${model}/1`)
        return [{ name: "model.onnx", directory: false, bytes: (await stat(path)).size }];
      return undefined;
    },
    async read(at) {
      if (at === `${version}model.onnx`) return readModelFile(path);
      // JSON of the names that a repository knows would be about other models.
      if (!at.startsWith(version) || at.endsWith(".json")) return undefined;
      return beside.read(at.slice(version.length));
    },
  };
}
