import { create } from "@bufbuild/protobuf";
import { bytesElements, type Datatype, type Tensor } from "@longshore/core";
import { bytesOf, elementCount, maxElements } from "@longshore/core/internal";
import { elementBits, elementTypeOf } from "./datatypes.ts";
import { type TensorProto, TensorProto_DataType as Element, TensorProtoSchema } from "./onnx_pb.ts";

/** Sizes of a stored tensor as numbers. Sizes beyond the exact integers become Infinity, so that checks refuse them. */
export function tensorDims(tensor: TensorProto): readonly number[] {
  return tensor.dims.map((size) =>
    size > BigInt(Number.MAX_SAFE_INTEGER) || size < BigInt(Number.MIN_SAFE_INTEGER)
      ? Infinity
      : Number(size),
  );
}

/** Number of elements of a stored tensor, or undefined when its sizes are negative or absurd. */
export function tensorElements(tensor: TensorProto): number | undefined {
  let count = 1;
  for (const size of tensorDims(tensor)) {
    if (!(size >= 0) || size > maxElements) return undefined;
    count *= size;
    if (count > maxElements) return undefined;
  }
  return count;
}

/** Bytes that the values of a stored tensor take in memory, in any field of the file. */
export function tensorBytes(tensor: TensorProto): number {
  const count = tensorElements(tensor) ?? 0;
  if (tensor.dataType === Element.STRING) {
    return tensor.stringData.reduce((total, text) => total + text.byteLength, 0);
  }
  return Math.ceil((count * (elementBits(tensor.dataType) ?? 0)) / 8);
}

/**
 * Values of a small integer, boolean or float tensor as numbers; undefined for other types and for more than `limit`
 * elements. Shape arithmetic needs nothing larger.
 */
export function smallValues(tensor: TensorProto, limit = 1024): readonly number[] | undefined {
  const count = tensorElements(tensor);
  if (count === undefined || count > limit) return undefined;
  if (tensor.rawData.byteLength > 0) return rawValues(tensor.dataType, tensor.rawData, count);
  switch (tensor.dataType) {
    case Element.INT64:
      return tensor.int64Data.map(Number);
    case Element.UINT64:
    case Element.UINT32:
      return tensor.uint64Data.map(Number);
    case Element.INT32:
    case Element.INT16:
    case Element.INT8:
    case Element.UINT16:
    case Element.UINT8:
    case Element.BOOL:
      return [...tensor.int32Data];
    case Element.FLOAT:
      return [...tensor.floatData];
    case Element.DOUBLE:
      return [...tensor.doubleData];
    default:
      return undefined;
  }
}

function rawValues(element: number, raw: Uint8Array, count: number): readonly number[] | undefined {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const width = (elementBits(element) ?? 0) / 8;
  if (!Number.isInteger(width) || width === 0 || raw.byteLength < count * width) return undefined;
  const at: ((offset: number) => number) | undefined = {
    [Element.INT64]: (offset: number) => Number(view.getBigInt64(offset, true)),
    [Element.UINT64]: (offset: number) => Number(view.getBigUint64(offset, true)),
    [Element.INT32]: (offset: number) => view.getInt32(offset, true),
    [Element.UINT32]: (offset: number) => view.getUint32(offset, true),
    [Element.INT16]: (offset: number) => view.getInt16(offset, true),
    [Element.UINT16]: (offset: number) => view.getUint16(offset, true),
    [Element.INT8]: (offset: number) => view.getInt8(offset),
    [Element.UINT8]: (offset: number) => view.getUint8(offset),
    [Element.BOOL]: (offset: number) => view.getUint8(offset),
    [Element.FLOAT]: (offset: number) => view.getFloat32(offset, true),
    [Element.DOUBLE]: (offset: number) => view.getFloat64(offset, true),
  }[element];
  return at && Array.from({ length: count }, (_unused, index) => at(index * width));
}

/** Values for a stored tensor: typed arrays (not copied), raw bytes, or strings for BYTES. */
export type Values = ArrayBufferView | readonly (string | Uint8Array)[];

const encoder = new TextEncoder();

/**
 * Makes a stored tensor. Typed arrays are kept as they are (little-endian machines only, like every machine that a runtime
 * exists for). Throws `invalid-input` for absurd shapes and `body-mismatch`-like mistakes surface when it is read back.
 */
export function tensorProto(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  values: Values,
): TensorProto {
  elementCount(shape, name);
  return create(TensorProtoSchema, {
    name,
    dataType: elementTypeOf(datatype),
    dims: shape.map(BigInt),
    ...(ArrayBuffer.isView(values)
      ? { rawData: bytesOf(values) }
      : { stringData: values.map((text) => (typeof text === "string" ? encoder.encode(text) : text)) }),
  });
}

/** A stored tensor with the content of a tensor that travelled. Shares the bytes of fixed-width types. */
export function tensorProtoOf(tensor: Tensor): TensorProto {
  const { name, datatype, shape } = tensor.spec;
  return tensorProto(name, datatype, shape, datatype === "BYTES" ? bytesElements(tensor) : tensor.bytes);
}
