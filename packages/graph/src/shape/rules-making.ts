import { smallValues, type TensorProto, tensorDims } from "../onnx/index.ts";
import { TensorProto_DataType as Element } from "../onnx/onnx_pb.ts";
import { wrapAxis } from "./axes.ts";
import type { ShapeRule, ShapeRules } from "./op-node.ts";
import {
  knownCount,
  maxFollowedValues,
  maxRank,
  ofRank,
  repeated,
  tensorType,
  type TensorType,
} from "./type.ts";

/** Fractions decide shapes only as scales of a resize or bounds of a range. */
const maxFollowedFractions = 16;

/** Type of a stored tensor, with its values when it is small. */
export function storedType(tensor: TensorProto): TensorType {
  const fraction = tensor.dataType === Element.FLOAT || tensor.dataType === Element.DOUBLE;
  const limit = fraction ? maxFollowedFractions : maxFollowedValues;
  return tensorType(tensor.dataType, tensorDims(tensor), smallValues(tensor, limit));
}

const constant: ShapeRule = (node) => {
  const stored = node.stored("value");
  if (stored) return [storedType(stored)];
  const int = node.int("value_int");
  if (int !== undefined) return [tensorType(Element.INT64, [], [int])];
  const ints = node.ints("value_ints");
  if (ints) return [tensorType(Element.INT64, [ints.length], ints)];
  const float = node.float("value_float");
  if (float !== undefined) return [tensorType(Element.FLOAT, [], [float])];
  const floats = node.attribute("value_floats")?.floats;
  if (floats) return [tensorType(Element.FLOAT, [floats.length], floats)];
  if (node.text("value_string") !== undefined) return [tensorType(Element.STRING, [])];
  const texts = node.texts("value_strings");
  if (texts) return [tensorType(Element.STRING, [texts.length])];
  const sparse = node.attribute("sparse_value")?.sparseTensor;
  return sparse?.values ? [tensorType(sparse.values.dataType, sparse.dims.map(Number))] : [];
};

/** Sizes given by the values of an input: unknown values are sizes that vary; without values only the rank may be known. */
export function shapeFrom(type: TensorType | undefined): readonly number[] | undefined {
  if (type?.values) return type.values.map((value) => (value === undefined || value < 0 ? -1 : value));
  const rank = type?.shape?.length === 1 ? type.shape[0] : undefined;
  return rank === undefined || rank < 0 || rank > maxRank ? undefined : repeated(-1, rank);
}

const constantOfShape: ShapeRule = (node) => {
  const stored = node.stored("value");
  const shape = shapeFrom(node.tensor(0));
  const count = knownCount(shape);
  const fill = stored ? smallValues(stored, 1)?.[0] : 0;
  const values = count !== undefined && count <= maxFollowedValues ? repeated(fill, count) : undefined;
  return [tensorType(stored?.dataType ?? Element.FLOAT, shape, values)];
};

const shapeRule: ShapeRule = (node) => {
  const shape = node.tensor(0)?.shape;
  if (!shape) return [ofRank(Element.INT64, 1)];
  const from = wrapAxis(node.int("start") ?? 0, shape.length);
  const to = wrapAxis(node.int("end") ?? shape.length, shape.length);
  const part = shape.slice(Math.max(0, from), Math.max(0, to));
  return [
    tensorType(
      Element.INT64,
      [part.length],
      part.map((size) => (size < 0 ? undefined : size)),
    ),
  ];
};

const size: ShapeRule = (node) => {
  const count = knownCount(node.tensor(0)?.shape);
  return [tensorType(Element.INT64, [], [count])];
};

const range: ShapeRule = (node) => {
  const element = node.tensor(0)?.element;
  if (element === undefined) return [];
  const [start, limit, delta] = [0, 1, 2].map((index) => node.tensor(index)?.values?.[0]);
  if (start === undefined || limit === undefined || !delta) return [ofRank(element, 1)];
  const count = Math.max(0, Math.ceil((limit - start) / delta));
  const values =
    count <= maxFollowedValues
      ? Array.from({ length: count }, (_unused, index) => start + index * delta)
      : undefined;
  return [tensorType(element, [count], values)];
};

const oneHot: ShapeRule = (node) => {
  const [indices, values] = [node.tensor(0), node.tensor(2)];
  if (!values) return [];
  if (!indices?.shape) return [tensorType(values.element, undefined)];
  const axis = wrapAxis(node.int("axis") ?? -1, indices.shape.length + 1);
  return [tensorType(values.element, indices.shape.toSpliced(axis, 0, node.tensor(1)?.values?.[0] ?? -1))];
};

const eyeLike: ShapeRule = (node) => {
  const element = node.int("dtype") ?? node.tensor(0)?.element;
  return element === undefined ? [] : [tensorType(element, node.tensor(0)?.shape)];
};

/** Operators that make tensors from nothing, from shapes or from numbers. */
export const makingRules: ShapeRules = {
  Constant: constant,
  ConstantOfShape: constantOfShape,
  ConstantFill: () => [tensorType(Element.FLOAT, undefined)],
  Shape: shapeRule,
  Size: size,
  Range: range,
  OneHot: oneHot,
  EyeLike: eyeLike,
};
