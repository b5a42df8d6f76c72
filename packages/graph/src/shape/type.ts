import { type ElementType, elementBits, type ValueInfoProto } from "../onnx/index.ts";
import type { TypeProto } from "../onnx/onnx_pb.ts";

/** The known type of a tensor in a graph before a run. */
export interface TensorType {
  readonly kind: "tensor";
  readonly element: ElementType;
  /** Sizes, -1 where they vary; undefined when not even the rank is known. */
  readonly shape: readonly number[] | undefined;
  /**
   * Values of small integer tensors as far as they are known, in row-major order: shape arithmetic decides the shapes of
   * what comes after it. Absent when nothing is known.
   */
  readonly values?: readonly (number | undefined)[];
}

/** A value that no wire carries: a sequence, a map, an optional, a sparse tensor. */
export interface OtherType {
  readonly kind: "other";
  readonly what: "sequence" | "map" | "optional" | "sparse tensor" | "opaque value";
  /** Type of the elements of a sequence, or of what an optional may hold, when known. */
  readonly inner?: ValueType;
}

export type ValueType = TensorType | OtherType;

/** Most values of a constant that are followed. */
export const maxFollowedValues = 256;

/** Highest rank that is followed; no runtime accepts more, and a crafted file could state billions. */
export const maxRank = 64;

/** Makes the type of a tensor. */
export function tensorType(
  element: ElementType,
  sizes: readonly number[] | undefined,
  values?: readonly (number | undefined)[],
): TensorType {
  const shape = sizes && sizes.length <= maxRank ? sizes : undefined;
  const useful = values && values.length <= maxFollowedValues && values.some((value) => value !== undefined);
  return useful ? { kind: "tensor", element, shape, values } : { kind: "tensor", element, shape };
}

/** The type of a tensor of some rank whose sizes are not known. */
export function ofRank(element: ElementType, rank: number | undefined): TensorType {
  return tensorType(element, rank === undefined || rank > maxRank ? undefined : repeated(-1, rank));
}

/** A list of `count` equal values. */
export function repeated<T>(value: T, count: number): readonly T[] {
  return Array.from({ length: count }, () => value);
}

/** The type that a file declares for a value; undefined when it says nothing. */
export function declaredType(info: ValueInfoProto): ValueType | undefined {
  return info.type && typeOf(info.type);
}

/** Reads a declared type. */
export function typeOf(type: TypeProto): ValueType | undefined {
  const { value } = type;
  switch (value.case) {
    case "tensorType": {
      if (value.value.elemType === 0) return undefined;
      const shape = value.value.shape?.dim.map(({ value: size }) =>
        size.case === "dimValue" && size.value >= 0n ? Number(size.value) : -1,
      );
      return tensorType(value.value.elemType, shape);
    }
    case "sequenceType":
      return other("sequence", value.value.elemType && typeOf(value.value.elemType));
    case "optionalType":
      return other("optional", value.value.elemType && typeOf(value.value.elemType));
    case "mapType":
      return other("map");
    case "sparseTensorType":
      return other("sparse tensor");
    case "opaqueType":
      return other("opaque value");
    default:
      return undefined;
  }
}

/** Makes the type of a value that is not a tensor. */
export function other(what: OtherType["what"], inner?: ValueType): OtherType {
  return inner ? { kind: "other", what, inner } : { kind: "other", what };
}

/** Number of elements when every size is known. */
export function knownCount(shape: readonly number[] | undefined): number | undefined {
  if (!shape) return undefined;
  let count = 1;
  for (const size of shape) {
    if (size < 0) return undefined;
    count *= size;
  }
  return count;
}

/** Bytes of a tensor when every size is known and its elements have a width. */
export function knownBytes(type: TensorType): number | undefined {
  const count = knownCount(type.shape);
  const bits = elementBits(type.element);
  return count === undefined || bits === undefined ? undefined : Math.ceil((count * bits) / 8);
}

/** The type that two sources agree on: equal sizes stay, others become -1; different ranks become unknown. */
export function commonType(a: ValueType | undefined, b: ValueType | undefined): ValueType | undefined {
  if (!a || !b) return undefined;
  if (a.kind === "other" || b.kind === "other")
    return a.kind === b.kind && a.kind === "other" ? a : undefined;
  if (a.element !== b.element) return undefined;
  const { shape } = a;
  if (!shape || !b.shape || shape.length !== b.shape.length) return tensorType(a.element, undefined);
  const common = shape.map((size, axis) => (size === b.shape?.[axis] ? size : -1));
  return tensorType(a.element, common);
}
