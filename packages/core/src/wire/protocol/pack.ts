import { type Call, LongshoreError } from "../../words/base/index.ts";
import type { Codec, CodecId, CodecSet, Encoded } from "../../words/codec/index.ts";
import { elementBytes, elementCount, type Tensor, type Tensors } from "../../words/tensor/index.ts";
import type { WireLimits } from "./limits.ts";
import { rowsSuffix } from "./names.ts";
import { noParameters, withoutParameters } from "./parameters.ts";
import { codecOf, type WireTensor } from "./wire-tensor.ts";

/**
 * A ragged tensor travels as two: the elements end to end under the tensor's own name, with 1-D shape `[elements]`, and
 * the shape of each under `<name>~rows`, INT32 `[n, rank - 1]`.
 */
function ragged(tensor: WireTensor, rows: Int32Array, rank: number): readonly WireTensor[] {
  const count = tensor.shape[0] ?? 0;
  let elements = 0;
  for (let row = 0; row < count; row++) {
    elements += elementCount([...rows.subarray(row * (rank - 1), (row + 1) * (rank - 1))], tensor.name);
  }
  return [
    { ...tensor, shape: [elements] },
    {
      name: `${tensor.name}${rowsSuffix}`,
      datatype: "INT32",
      shape: [count, rank - 1],
      parameters: noParameters,
      bytes: new Uint8Array(rows.buffer as ArrayBuffer, rows.byteOffset, rows.byteLength),
    },
  ];
}

/** The codec of that ID. Throws `unsupported`. */
function codecNamed(id: CodecId, codecs: CodecSet, name: string, stage: "encode" | "decode"): Codec {
  const codec = codecs.get(id);
  if (!codec) throw new LongshoreError("unsupported", stage, `${name}: there is no codec '${id}' here`);
  return codec;
}

/**
 * Encodes tensors for the wire: each in the chosen codec (default raw), ragged ones with their companion. Raw tensors are not copied.
 * Synchronous if no codec has work to do.
 */
export function packTensors(
  tensors: Tensors,
  choice: Readonly<Record<string, CodecId>>,
  codecs: CodecSet,
  call: Call,
): readonly WireTensor[] | Promise<readonly WireTensor[]> {
  const packed: WireTensor[] = [];
  for (const [name, { spec, bytes, rows }] of tensors) {
    if (Object.hasOwn(choice, name)) return packEach(tensors, choice, codecs, call);
    const { datatype, shape } = spec;
    const wire: WireTensor = { name, datatype, shape, parameters: noParameters, bytes };
    if (rows) packed.push(...ragged(wire, rows, shape.length));
    else packed.push(wire);
  }
  return packed;
}

async function packEach(
  tensors: Tensors,
  choice: Readonly<Record<string, CodecId>>,
  codecs: CodecSet,
  call: Call,
): Promise<readonly WireTensor[]> {
  const packed: WireTensor[] = [];
  for (const [name, tensor] of tensors) {
    const id = Object.hasOwn(choice, name) ? choice[name] : undefined;
    const { datatype, shape } = tensor.spec;
    let wire: WireTensor = { name, datatype, shape, parameters: noParameters, bytes: tensor.bytes };
    let rows = tensor.rows;
    if (id !== undefined && id !== "raw") {
      const codec = codecNamed(id, codecs, name, "encode");
      if (!codec.accepts(tensor.spec)) {
        throw new LongshoreError(
          "unsupported",
          "encode",
          `${name}: codec '${id}' does not carry ${datatype}`,
        );
      }
      const encoded = await codec.encode(tensor, call);
      rows = encoded.rows ?? rows;
      wire = { ...wire, parameters: { ...encoded.parameters, codec: id }, bytes: encoded.bytes };
    }
    packed.push(...(rows ? ragged(wire, rows, shape.length) : [wire]));
  }
  return packed;
}

/** Shape and rows of a ragged tensor from its companion. Sizes that differ between elements become -1. */
function raggedShape(
  elements: WireTensor,
  companion: WireTensor,
): { readonly shape: readonly number[]; readonly rows: Int32Array } {
  const { name } = elements;
  const [count = 0, rank = 0] = companion.shape;
  if (companion.datatype !== "INT32" || companion.shape.length !== 2 || rank > 31) {
    throw new LongshoreError("invalid-input", "decode", `${companion.name} must be INT32 [n, rank - 1]`);
  }
  const rows = new Int32Array(companion.bytes.slice().buffer);
  const shape = [count, ...(rows.length > 0 ? rows.subarray(0, rank) : new Int32Array(rank).fill(-1))];
  let total = 0;
  for (let row = 0; row < count; row++) {
    const own = [...rows.subarray(row * rank, (row + 1) * rank)];
    total += elementCount(own, companion.name);
    own.forEach((size, axis) => {
      if (size !== shape[axis + 1]) shape[axis + 1] = -1;
    });
  }
  if (elements.shape.length !== 1 || elements.shape[0] !== total) {
    throw new LongshoreError(
      "body-mismatch",
      "decode",
      `${companion.name} counts ${total} elements, but ${name} has shape [${elements.shape.join(", ")}]`,
    );
  }
  return { shape, rows };
}

async function unpack(
  wire: WireTensor,
  companion: WireTensor | undefined,
  codecs: CodecSet,
  limits: WireLimits,
  call: Call,
): Promise<Tensor> {
  const { name, datatype, bytes } = wire;
  const pair = companion ? raggedShape(wire, companion) : undefined;
  const shape = pair?.shape ?? wire.shape;
  const spec = { name, datatype, shape, ...(pair ? { ragged: true } : {}) };
  const rows = pair ? { rows: pair.rows } : {};
  const id = codecOf(wire.parameters, name);
  if (id === undefined) return { spec, bytes, ...rows };
  const codec = codecNamed(id, codecs, name, "decode");
  if (!codec.accepts(spec)) {
    throw new LongshoreError("invalid-input", "decode", `${name}: codec '${id}' does not carry ${datatype}`);
  }
  const parameters = withoutParameters(wire.parameters, "codec");
  const encoded: Encoded = { spec, codec: id, bytes, parameters, ...rows };
  const tensor = await codec.decode(encoded, call);
  const width = elementBytes(datatype);
  const expected = elementCount(wire.shape, name) * width;
  if (
    tensor.bytes.byteLength > limits.maxTensorBytes ||
    (width > 0 && tensor.bytes.byteLength !== expected)
  ) {
    throw new LongshoreError(
      "body-mismatch",
      "decode",
      `${name}: codec '${id}' gave ${tensor.bytes.byteLength} bytes where ${expected} were announced`,
    );
  }
  return tensor;
}

/**
 * The tensors of a message by name: ragged tensors joined with their companions, and all decoded. Synchronous if there is nothing to join or
 * decode.
 */
export function unpackTensors(
  wire: readonly WireTensor[],
  codecs: CodecSet,
  limits: WireLimits,
  call: Call,
): Tensors | Promise<Tensors> {
  const tensors = new Map<string, Tensor>();
  for (const { name, datatype, shape, bytes, parameters } of wire) {
    if (name.endsWith(rowsSuffix) || codecOf(parameters, name) !== undefined) {
      return unpackEach(wire, codecs, limits, call);
    }
    tensors.set(name, { spec: { name, datatype, shape }, bytes });
  }
  return tensors;
}

async function unpackEach(
  wire: readonly WireTensor[],
  codecs: CodecSet,
  limits: WireLimits,
  call: Call,
): Promise<Tensors> {
  const byName = new Map(wire.map((tensor) => [tensor.name, tensor]));
  const tensors = new Map<string, Tensor>();
  for (const tensor of wire) {
    const { name } = tensor;
    if (name.endsWith(rowsSuffix) && byName.has(name.slice(0, -rowsSuffix.length))) continue;
    const companion = byName.get(`${name}${rowsSuffix}`);
    tensors.set(name, await unpack(tensor, companion, codecs, limits, call));
  }
  return tensors;
}
