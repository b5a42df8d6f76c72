import { posix } from "node:path";
import { LongshoreError } from "@longshore/core";
import type { ModelStore } from "@longshore/engine";
import { outsideFiles, plainOutputs, readModel, writeModel } from "@longshore/graph";

/*
 * Exporters put the weights of larger models into files beside the model. All other code knows a model by one file and its
 * digest: caches, cuts, packages, runtimes that take bytes. So such a model is made whole when it is read, and its outputs are
 * made plain if they can be; later code does not see the difference. Other models are given as they are, byte for byte.
 */

/** The limit of one message of the format, and so of a file for a runtime. */
const maxModelBytes = 2 ** 31 - 1;

/**
 * The field of a tensor with its weights elsewhere, and the operator of outputs that are not plain: recognised without
 * decoding.
 */
const marks = { outside: "location", notPlain: "ZipMap" };

/** Whether bytes hold a mark, as far as that is visible without decoding them. */
function hasMark(bytes: Uint8Array, mark: string): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(mark);
}

/** Files beside a model in which it keeps weights, relative to its folder. Throws as `readModel`. */
export function outsideFilesOf(bytes: Uint8Array): readonly string[] {
  return hasMark(bytes, marks.outside) ? outsideFiles(bytes) : [];
}

/** The model with its weights inside and with plain outputs; the same bytes where they are that already. */
export function wholeOf(bytes: Uint8Array, externalData: ReadonlyMap<string, Uint8Array>): Uint8Array {
  if (externalData.size === 0 && !hasMark(bytes, marks.notPlain)) return bytes;
  const model = readModel(bytes, { externalData });
  const plain = plainOutputs(model);
  return externalData.size === 0 && plain === model ? bytes : writeModel(plain);
}

/**
 * A model file with the weights inside that it keeps in files beside it, and with plain outputs (`plainOutputs`). `read`
 * gets paths relative to the model's folder. It may move the bytes elsewhere. Throws `invalid-model` when a file is missing
 * or does not fit, `unsupported` above 2 GiB.
 */
export type MakeWhole = (
  bytes: Uint8Array,
  read: (file: string) => Promise<Uint8Array | undefined>,
) => Promise<Uint8Array>;

/** Makes a model whole on the calling thread. */
export const wholeModel: MakeWhole = async (bytes, read) =>
  wholeOf(bytes, await besideModel(outsideFilesOf(bytes), bytes.byteLength, read));

/** Reads the files beside a model of `modelBytes` that it needs. Throws as `MakeWhole`. */
export async function besideModel(
  files: readonly string[],
  modelBytes: number,
  read: (file: string) => Promise<Uint8Array | undefined>,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  let total = modelBytes;
  for (const file of files) {
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
export function wholeModels(store: ModelStore, makeWhole: MakeWhole = wholeModel): ModelStore {
  return {
    list: (path) => store.list(path),
    async read(path) {
      const bytes = await store.read(path);
      if (!bytes || !path.endsWith(".onnx")) return bytes;
      return makeWhole(bytes, (file) => store.read(posix.join(posix.dirname(path), file)));
    },
  };
}
