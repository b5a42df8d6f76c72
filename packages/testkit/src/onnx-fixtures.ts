import type { Datatype } from "@longshore/core";

/**
 * A few dozen lines that write ONNX files, so that tests of runtimes need neither a model on disk nor the reader and
 * writer of `@longshore/graph` (which has tests of its own that need runtimes). Field numbers are those of `onnx.proto`.
 */

/** TensorProto.DataType of each datatype. */
const elementTypes: Readonly<Record<Datatype, number>> = {
  FP32: 1,
  UINT8: 2,
  INT8: 3,
  UINT16: 4,
  INT16: 5,
  INT32: 6,
  INT64: 7,
  BYTES: 8,
  BOOL: 9,
  FP16: 10,
  FP64: 11,
  UINT32: 12,
  UINT64: 13,
  BF16: 16,
};

/**
 * An input or output of a fixture; a string among the sizes is a symbolic dimension, an empty one
 * a size of which nothing is said. No shape: of unknown rank.
 */
export interface FixtureValue {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape?: readonly (number | string)[];
  /** A list of such tensors instead of one. */
  readonly sequence?: boolean;
}

/** A weight: raw little-endian bytes, or a file beside the model (which a careful runtime refuses to open). */
export interface FixtureTensor {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly bytes?: Uint8Array;
  readonly externalFile?: string;
}

/** A whole number, a list of them, a tensor, or the body of a loop. */
export type FixtureAttribute =
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly tensor: FixtureTensor }
  | { readonly graph: FixtureGraph };

/** One node. */
export interface FixtureNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, FixtureAttribute>>;
}

/** A graph, or the body of a loop. */
export interface FixtureGraph {
  readonly inputs: readonly FixtureValue[];
  readonly outputs: readonly FixtureValue[];
  readonly nodes: readonly FixtureNode[];
  readonly weights?: readonly FixtureTensor[];
}

const text = new TextEncoder();

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 0x7fn) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return bytes;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.byteLength;
  }
  return joined;
}

const int = (field: number, value: number): Uint8Array =>
  Uint8Array.from([...varint(field << 3), ...varint(value)]);
const bytes = (field: number, value: Uint8Array): Uint8Array =>
  join([Uint8Array.from([...varint((field << 3) | 2), ...varint(value.byteLength)]), value]);
const string = (field: number, value: string): Uint8Array => bytes(field, text.encode(value));
const message = (field: number, ...parts: readonly Uint8Array[]): Uint8Array => bytes(field, join(parts));

function valueInfo(field: number, { name, datatype, shape, sequence }: FixtureValue): Uint8Array {
  const sizes = shape?.map((size) =>
    message(1, ...(size === "" ? [] : [typeof size === "number" ? int(1, size) : string(2, size)])),
  );
  const tensorType = [int(1, elementTypes[datatype]), ...(sizes ? [message(2, ...sizes)] : [])];
  const type = message(1, ...tensorType);
  return message(field, string(1, name), message(2, sequence ? message(4, message(1, type)) : type));
}

function tensor(
  field: number,
  { name, datatype, shape, bytes: raw, externalFile }: FixtureTensor,
): Uint8Array {
  const data =
    externalFile === undefined
      ? [bytes(9, raw ?? new Uint8Array())]
      : [message(13, string(1, "location"), string(2, externalFile)), int(14, 1)];
  return message(
    field,
    ...shape.map((size) => int(1, size)),
    int(2, elementTypes[datatype]),
    string(8, name),
    ...data,
  );
}

function attribute(name: string, value: FixtureAttribute): Uint8Array {
  if ("int" in value) return message(5, string(1, name), int(3, value.int), int(20, 2));
  if ("ints" in value)
    return message(5, string(1, name), ...value.ints.map((one) => int(8, one)), int(20, 7));
  if ("tensor" in value) return message(5, string(1, name), tensor(5, value.tensor), int(20, 4));
  return message(5, string(1, name), graph(6, value.graph), int(20, 5));
}

function graph(field: number, { inputs, outputs, nodes, weights = [] }: FixtureGraph): Uint8Array {
  return message(
    field,
    ...nodes.map((node) =>
      message(
        1,
        ...node.inputs.map((name) => string(1, name)),
        ...node.outputs.map((name) => string(2, name)),
        string(4, node.op),
        ...Object.entries(node.attributes ?? {}).map(([name, value]) => attribute(name, value)),
        ...(node.domain === undefined ? [] : [string(7, node.domain)]),
      ),
    ),
    string(2, "fixture"),
    ...weights.map((weight) => tensor(5, weight)),
    ...inputs.map((value) => valueInfo(11, value)),
    ...outputs.map((value) => valueInfo(12, value)),
  );
}

/** A complete ONNX file of IR version 8. */
export function onnxFile(body: FixtureGraph, opset = 17): Uint8Array {
  return join([int(1, 8), graph(7, body), message(8, string(1, ""), int(2, opset))]);
}

/** `y = x` for one datatype; any shape of the given rank (default 2). */
export function identityModel(
  datatype: Datatype,
  shape: readonly (number | string)[] = ["rows", "columns"],
): Uint8Array {
  return onnxFile({
    inputs: [{ name: "x", datatype, shape }],
    outputs: [{ name: "y", datatype, shape }],
    nodes: [{ op: "Identity", inputs: ["x"], outputs: ["y"] }],
  });
}

/** `product = a x b` and `doubled = product + product`: FP32 `a [rows, 3]`, `b [3, 2]`. */
export function matmulModel(): Uint8Array {
  return onnxFile({
    inputs: [
      { name: "a", datatype: "FP32", shape: ["rows", 3] },
      { name: "b", datatype: "FP32", shape: [3, 2] },
    ],
    outputs: [
      { name: "product", datatype: "FP32", shape: ["rows", 2] },
      { name: "doubled", datatype: "FP32", shape: ["rows", 2] },
    ],
    nodes: [
      { op: "MatMul", inputs: ["a", "b"], outputs: ["product"] },
      { op: "Add", inputs: ["product", "product"], outputs: ["doubled"] },
    ],
  });
}

/** FP32 scalar as raw bytes. */
const one = new Uint8Array(new Float32Array([1]).buffer);
const yes = Uint8Array.of(1);

/**
 * `total = 1 + 1 + ... (trips times)`: runs for as long as its INT64 scalar input `trips` says (about a microsecond a
 * trip), which is how a run is kept busy and how a model makes a run that never ends.
 */
export function loopModel(): Uint8Array {
  return onnxFile({
    inputs: [{ name: "trips", datatype: "INT64", shape: [] }],
    outputs: [{ name: "total", datatype: "FP32", shape: [] }],
    weights: [
      { name: "zero", datatype: "FP32", shape: [], bytes: new Uint8Array(4) },
      { name: "go", datatype: "BOOL", shape: [], bytes: yes },
    ],
    nodes: [
      {
        op: "Loop",
        inputs: ["trips", "go", "zero"],
        outputs: ["total"],
        attributes: {
          body: {
            graph: {
              inputs: [
                { name: "index", datatype: "INT64", shape: [] },
                { name: "goOn", datatype: "BOOL", shape: [] },
                { name: "sum", datatype: "FP32", shape: [] },
              ],
              outputs: [
                { name: "stillGo", datatype: "BOOL", shape: [] },
                { name: "next", datatype: "FP32", shape: [] },
              ],
              weights: [{ name: "step", datatype: "FP32", shape: [], bytes: one }],
              nodes: [
                { op: "Identity", inputs: ["goOn"], outputs: ["stillGo"] },
                { op: "Add", inputs: ["sum", "step"], outputs: ["next"] },
              ],
            },
          },
        },
      },
    ],
  });
}

/**
 * A file of about a hundred bytes that wants `side x side` FP32 of memory: when it is loaded (constant folding), or, with
 * `whenRun`, when the INT64 `[2]` input `size` states it.
 */
export function memoryBomb(side: number, whenRun = false): Uint8Array {
  const size = new Uint8Array(new BigInt64Array([BigInt(side), BigInt(side)]).buffer);
  return onnxFile({
    inputs: whenRun ? [{ name: "size", datatype: "INT64", shape: [2] }] : [],
    outputs: [{ name: "y", datatype: "FP32", shape: ["a", "b"] }],
    weights: whenRun ? [] : [{ name: "size", datatype: "INT64", shape: [2], bytes: size }],
    nodes: [
      {
        op: "ConstantOfShape",
        inputs: ["size"],
        outputs: ["y"],
        attributes: { value: { tensor: { name: "", datatype: "FP32", shape: [1], bytes: one } } },
      },
    ],
  });
}

/** A model whose weight lies in a file beside it: `y = x + <file>`. */
export function externalWeightModel(file: string, elements: number): Uint8Array {
  return onnxFile(
    {
      inputs: [{ name: "x", datatype: "UINT8", shape: [elements] }],
      outputs: [{ name: "y", datatype: "UINT8", shape: [elements] }],
      weights: [{ name: "w", datatype: "UINT8", shape: [elements], externalFile: file }],
      nodes: [{ op: "BitwiseOr", inputs: ["x", "w"], outputs: ["y"] }],
    },
    18,
  );
}
