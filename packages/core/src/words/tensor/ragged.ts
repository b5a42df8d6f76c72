import { LongshoreError } from "../base/index.ts";
import { elementBytes } from "./datatype.ts";
import { elementCount, type Tensor, type TensorSpec } from "./tensor.ts";

/** Bytes that `count` elements of a BYTES tensor take from `offset` on, their lengths included; more than there are when cut. */
function prefixedBytes(bytes: Uint8Array, offset: number, count: number): number {
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = offset;
  for (let index = 0; index < count && at <= bytes.byteLength; index++) {
    at += at + 4 <= bytes.byteLength ? 4 + header.getUint32(at, true) : Infinity;
  }
  return at - offset;
}

/** Elements of a ragged (or plain, along axis 0) tensor, each without the leading axis. Shares the bytes. */
export function splitElements(tensor: Tensor): readonly Tensor[] {
  const { spec, rows } = tensor;
  const count = spec.shape[0] ?? 0;
  const rank = spec.shape.length - 1;
  const width = elementBytes(spec.datatype);
  if (spec.shape.length === 0) {
    throw new LongshoreError(
      "invalid-input",
      "execute",
      `${spec.name} is a single value; there are no elements to run one by one`,
    );
  }
  const elements: Tensor[] = [];
  let offset = 0;
  for (let index = 0; index < count; index++) {
    const shape = rows ? [...rows.subarray(index * rank, (index + 1) * rank)] : spec.shape.slice(1);
    const scalars = elementCount(shape, spec.name);
    const bytes = width > 0 ? scalars * width : prefixedBytes(tensor.bytes, offset, scalars);
    if (offset + bytes > tensor.bytes.byteLength) {
      throw new LongshoreError(
        "body-mismatch",
        "decode",
        `${spec.name}: its elements run past its ${tensor.bytes.byteLength} bytes`,
      );
    }
    elements.push({
      spec: { name: spec.name, datatype: spec.datatype, shape },
      bytes: tensor.bytes.subarray(offset, offset + bytes),
    });
    offset += bytes;
  }
  if (offset !== tensor.bytes.byteLength) {
    throw new LongshoreError(
      "body-mismatch",
      "decode",
      `${spec.name}: its rows take ${offset} bytes, but ${tensor.bytes.byteLength} came`,
    );
  }
  return elements;
}

/**
 * Joins elements along a new leading axis into one ragged tensor (copies). With no elements the shape is `[0, ...]` of
 * `emptyShape`. Elements must agree in datatype and rank.
 */
export function joinElements(
  name: string,
  elements: readonly Tensor[],
  empty: Pick<TensorSpec, "datatype" | "shape">,
): Tensor {
  const first = elements[0]?.spec ?? empty;
  const rank = first.shape.length;
  const rows = new Int32Array(elements.length * rank);
  const shape = [elements.length, ...first.shape];
  let size = 0;
  for (const [index, { spec, bytes }] of elements.entries()) {
    if (spec.datatype !== first.datatype || spec.shape.length !== rank) {
      throw new LongshoreError("invalid-input", "execute", `${name}: elements differ in datatype or rank`);
    }
    rows.set(spec.shape, index * rank);
    for (const [axis, extent] of spec.shape.entries()) if (extent !== first.shape[axis]) shape[axis + 1] = -1;
    size += bytes.byteLength;
  }
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const element of elements) {
    bytes.set(element.bytes, offset);
    offset += element.bytes.byteLength;
  }
  return { spec: { name, datatype: first.datatype, shape, ragged: true }, bytes, rows };
}
