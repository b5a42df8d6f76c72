import { posix } from "node:path";
import { LongshoreError } from "@longshore/core";
import type { ModelStore } from "@longshore/engine";
import { outsideFiles, plainOutputs, readModel, writeModel } from "@longshore/graph";

/*
 * Exporters put the weights of larger models into files beside the model. Everything here knows a model by one file and
 * its digest: caches, cuts, packages, runtimes that take bytes. So such a model is made whole when it is read, and outputs
 * that can be made plain are; nobody further on knows the difference. Other models are given as they are, byte for byte.
 */

/** What one message of the format can hold, and so a runtime can be handed. */
const maxModelBytes = 2 ** 31 - 1;

/** What a tensor with its weights elsewhere says, and the operator of outputs that are not plain: told apart undecoded. */
const marks = { outside: "location", notPlain: "ZipMap" };

/**
 * A model file with the weights inside that it keeps in files beside it, and with plain outputs (`plainOutputs`). `read`
 * gets paths relative to the model's folder. Throws `invalid-model` when a file is missing or does not fit, `unsupported`
 * above 2 GiB.
 */
export async function wholeModel(
  bytes: Uint8Array,
  read: (file: string) => Promise<Uint8Array | undefined>,
): Promise<Uint8Array> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const externalData = text.includes(marks.outside) ? await outsideWeights(bytes, read) : new Map();
  if (externalData.size === 0 && !text.includes(marks.notPlain)) return bytes;
  const model = readModel(bytes, { externalData });
  const plain = plainOutputs(model);
  return externalData.size === 0 && plain === model ? bytes : writeModel(plain);
}

async function outsideWeights(
  bytes: Uint8Array,
  read: (file: string) => Promise<Uint8Array | undefined>,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
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
    found.set(file, weights);
  }
  return found;
}

/** A store whose model files are whole and plain. */
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
