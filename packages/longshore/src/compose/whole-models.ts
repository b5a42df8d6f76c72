import { posix } from "node:path";
import { LongshoreError } from "@longshore/core";
import type { ModelStore } from "@longshore/engine";
import { outsideFiles, readModel, writeModel } from "@longshore/graph";

/*
 * Exporters put the weights of larger models into files beside the model. Everything here knows a model by one file and
 * its digest: caches, cuts, packages, runtimes that take bytes. So such a model is made whole when it is read, and nobody
 * further on knows the difference. A model without files beside it is given as it is, byte for byte.
 */

/** What one message of the format can hold, and so a runtime can be handed. */
const maxModelBytes = 2 ** 31 - 1;

/** What every tensor with its weights elsewhere says; nearly every other file is told by its absence, undecoded. */
const mark = "location";

/**
 * A model file with the weights inside that it keeps in files beside it. `read` gets their paths relative to the model's
 * folder. Throws `invalid-model` when one is missing or does not fit, `unsupported` above 2 GiB.
 */
export async function wholeModel(
  bytes: Uint8Array,
  read: (file: string) => Promise<Uint8Array | undefined>,
): Promise<Uint8Array> {
  if (!Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(mark)) return bytes;
  const externalData = new Map<string, Uint8Array>();
  let total = bytes.byteLength;
  for (const file of outsideFiles(bytes)) {
    const weights = await read(file);
    if (!weights) {
      throw new LongshoreError(
        "invalid-model",
        "resolve",
        `the model keeps weights in "${file}", which does not lie beside it: put that file into the model's folder, or save the model with its weights inside`,
      );
    }
    total += weights.byteLength;
    if (total > maxModelBytes) {
      throw new LongshoreError(
        "unsupported",
        "resolve",
        `the model with the weights beside it takes ${total} bytes or more; ${maxModelBytes} can be handed to a runtime`,
      );
    }
    externalData.set(file, weights);
  }
  return externalData.size === 0 ? bytes : writeModel(readModel(bytes, { externalData }));
}

/** A store whose model files are whole. */
export function wholeModels(store: ModelStore): ModelStore {
  return {
    list: (path) => store.list(path),
    async read(path) {
      const bytes = await store.read(path);
      if (!bytes || !path.endsWith(".onnx")) return bytes;
      return wholeModel(bytes, (file) => store.read(posix.join(posix.dirname(path), file)));
    },
  };
}
