import { type DataClass, LongshoreError } from "../../words/base/index.ts";
import {
  defaultWireLimits,
  exactly,
  parseJson,
  plainTensor,
  read,
  type Reader,
  readInferRequest,
} from "../../wire/protocol/index.ts";
import { isDatatype, type Tensor, tensorOf, type Tensors } from "../../words/tensor/index.ts";
import { sameBody, type Tolerance } from "./same-answer.ts";

/** An input with a known answer. */
export interface GoldenPair {
  /** For people. */
  readonly name: string;
  readonly inputs: Tensors;
  readonly outputs: Tensors;
  /** Undefined: the tolerance between two machines that run the same body. */
  readonly tolerance?: Tolerance;
}

/** Golden inputs of one version of a model. */
export interface GoldenInputs {
  /** Digest of the content that computed the answers; undefined: any content under the version's name. */
  readonly digest?: string;
  /**
   * Data class of golden inputs. They go to every endpoint that offers the model and may have this class. Default `public`: the file holds
   * no secrets.
   */
  readonly dataClass: DataClass;
  readonly pairs: readonly GoldenPair[];
}

/** Golden inputs lie beside the files of a version under this name, and are no part of it. */
export const goldenFile = "golden.json";

const maxPairs = 64;
/** The longest file that is read, in bytes. */
export const maxGoldenBytes: number = 32 * 2 ** 20;

const toleranceFrom: Reader<Tolerance> = (value, where) => ({
  ...sameBody,
  ...exactly({
    absolute: read.optional(read.readNumber(0)),
    relativeRatio: read.optional(read.readNumber(0, 1)),
    ofLargestRatio: read.optional(read.readNumber(0, 1)),
    strayRatio: read.optional(read.readNumber(0, 1)),
  })(value, where),
});

const binaryFrom = exactly({
  name: read.readText(defaultWireLimits.maxNameLength),
  datatype: read.readText(8),
  shape: read.list(read.readWhole(0, 2 ** 31), 16),
  base64: read.readText(maxGoldenBytes),
});

function tensorFrom(value: unknown, where: string): Tensor {
  if (read.own(read.objectAt(value, where), "base64") === undefined) {
    const message = new TextEncoder().encode(JSON.stringify({ inputs: [value] }));
    const [wire] = readInferRequest(message, undefined).inputs;
    return wire ? plainTensor(wire) : read.refuseField(where, "a tensor");
  }
  const { name, datatype, shape, base64 } = binaryFrom(value, where);
  if (!isDatatype(datatype)) read.refuseField(`${where}.datatype`, "a datatype of the protocol");
  let text: string;
  try {
    text = atob(base64);
  } catch {
    read.refuseField(`${where}.base64`, "bytes in Base64");
  }
  return tensorOf(
    name,
    datatype,
    shape,
    Uint8Array.from(text, (character) => character.charCodeAt(0)),
  );
}

const tensorsFrom: Reader<Tensors> = (value, where) => {
  const tensors = read.arrayAt(value, where, 64).map((entry, at) => tensorFrom(entry, `${where}[${at}]`));
  const named = new Map(tensors.map((tensor) => [tensor.spec.name, tensor]));
  if (named.size !== tensors.length || named.size === 0)
    read.refuseField(where, "one or more tensors of different names");
  return named;
};

const goldenFrom = exactly({
  schemaVersion: read.readWord(1),
  digest: read.optional(read.readText(80)),
  dataClass: read.optional(read.readText(64)),
  pairs: read.list(
    exactly({
      name: read.optional(read.readText(128)),
      inputs: tensorsFrom,
      outputs: tensorsFrom,
      tolerance: read.optional(toleranceFrom),
    }),
    maxPairs,
  ),
});

/**
 * Reads `golden.json`: tensors as the Open Inference Protocol writes them in JSON, or with `base64` for their bytes
 * (little-endian; of BYTES with four bytes of length before each element). Throws `invalid-configuration`.
 */
export function parseGolden(bytes: Uint8Array): GoldenInputs {
  try {
    if (bytes.byteLength > maxGoldenBytes)
      read.refuseField(goldenFile, `at most ${maxGoldenBytes} bytes long`);
    const { digest, dataClass = "public", pairs } = goldenFrom(parseJson(bytes, goldenFile), goldenFile);
    return {
      ...(digest === undefined ? {} : { digest }),
      dataClass,
      pairs: pairs.map(({ name, inputs, outputs, tolerance }, at) => ({
        name: name ?? String(at + 1),
        inputs,
        outputs,
        ...(tolerance ? { tolerance } : {}),
      })),
    };
  } catch (thrown) {
    const { message } = LongshoreError.from(thrown, "resolve", `reading ${goldenFile}`);
    throw new LongshoreError("invalid-configuration", "resolve", message, { cause: thrown });
  }
}

/** Writes golden inputs so that `parseGolden` reads them. */
export function goldenText({ digest, dataClass, pairs }: GoldenInputs): string {
  const written = (tensors: Tensors) =>
    Array.from(tensors.values(), ({ spec: { name, datatype, shape }, bytes }) => {
      let text = "";
      for (const byte of bytes) text += String.fromCharCode(byte);
      return { name, datatype, shape, base64: btoa(text) };
    });
  const body = {
    schemaVersion: 1,
    ...(digest === undefined ? {} : { digest }),
    dataClass,
    pairs: pairs.map(({ name, inputs, outputs, tolerance }) => ({
      name,
      inputs: written(inputs),
      outputs: written(outputs),
      ...(tolerance ? { tolerance } : {}),
    })),
  };
  return `${JSON.stringify(body)}\n`;
}
