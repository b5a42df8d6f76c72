import type { Datatype } from "@longshore/core";
import { TensorProto_DataType as Element } from "./onnx_pb.ts";

/** Element type of a tensor as ONNX numbers it (`TensorProto.DataType`). */
export type ElementType = number;

const toDatatype: ReadonlyMap<ElementType, Datatype> = new Map<ElementType, Datatype>([
  [Element.FLOAT, "FP32"],
  [Element.UINT8, "UINT8"],
  [Element.INT8, "INT8"],
  [Element.UINT16, "UINT16"],
  [Element.INT16, "INT16"],
  [Element.INT32, "INT32"],
  [Element.INT64, "INT64"],
  [Element.STRING, "BYTES"],
  [Element.BOOL, "BOOL"],
  [Element.FLOAT16, "FP16"],
  [Element.DOUBLE, "FP64"],
  [Element.UINT32, "UINT32"],
  [Element.UINT64, "UINT64"],
  [Element.BFLOAT16, "BF16"],
]);

const fromDatatype: ReadonlyMap<Datatype, ElementType> = new Map(
  [...toDatatype].map(([element, datatype]) => [datatype, element]),
);

/** The datatype that travels for an ONNX element type; undefined for those that cannot (complex, 8 bits and less of float). */
export function datatypeOfOnnx(element: ElementType): Datatype | undefined {
  return toDatatype.get(element);
}

/** The ONNX number of a datatype. */
export function elementTypeOf(datatype: Datatype): ElementType {
  return fromDatatype.get(datatype) ?? Element.UNDEFINED;
}

const names: ReadonlyMap<ElementType, string> = new Map(
  Object.entries(Element).map(([name, element]) => [element, name]),
);

/** ONNX's word for an element type, for messages. */
export function elementTypeName(element: ElementType): string {
  return names.get(element) ?? `element type ${element}`;
}

const bitWidths: ReadonlyMap<ElementType, number> = new Map<ElementType, number>([
  [Element.FLOAT, 32],
  [Element.UINT8, 8],
  [Element.INT8, 8],
  [Element.UINT16, 16],
  [Element.INT16, 16],
  [Element.INT32, 32],
  [Element.INT64, 64],
  [Element.BOOL, 8],
  [Element.FLOAT16, 16],
  [Element.DOUBLE, 64],
  [Element.UINT32, 32],
  [Element.UINT64, 64],
  [Element.COMPLEX64, 64],
  [Element.COMPLEX128, 128],
  [Element.BFLOAT16, 16],
  [Element.FLOAT8E4M3FN, 8],
  [Element.FLOAT8E4M3FNUZ, 8],
  [Element.FLOAT8E5M2, 8],
  [Element.FLOAT8E5M2FNUZ, 8],
  [Element.FLOAT8E8M0, 8],
  [Element.UINT4, 4],
  [Element.INT4, 4],
  [Element.FLOAT4E2M1, 4],
  [Element.UINT2, 2],
  [Element.INT2, 2],
]);

/** Bits of one element in `raw_data`; undefined for strings and for types this schema does not know. */
export function elementBits(element: ElementType): number | undefined {
  return bitWidths.get(element);
}
