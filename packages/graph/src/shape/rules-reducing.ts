import { TensorProto_DataType as Element } from "../onnx/onnx_pb.ts";
import { parameterInts, wrapAxis } from "./axes.ts";
import type { OpNode, ShapeRule, ShapeRules } from "./op-node.ts";
import { sameAsFirst } from "./rules-elementwise.ts";
import { ofRank, repeated, tensorType, type TensorType, type ValueType } from "./type.ts";

const reduceAxes: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const keep = (node.int("keepdims") ?? 1) === 1;
  const given = node.ints("axes") !== undefined || node.given(1);
  const axes = parameterInts(node, "axes", 1);
  if (!data.shape) return [tensorType(data.element, undefined)];
  const rank = data.shape.length;
  if (given && (!axes || axes.includes(undefined))) {
    return [keep ? ofRank(data.element, rank) : tensorType(data.element, undefined)];
  }
  if ((!axes || axes.length === 0) && node.int("noop_with_empty_axes")) return sameAsFirst(node);
  const gone = new Set(
    axes?.length ? axes.map((axis) => wrapAxis(axis ?? 0, rank)) : data.shape.map((_size, axis) => axis),
  );
  const sizes = data.shape.flatMap((size, axis) => (gone.has(axis) ? (keep ? [1] : []) : [size]));
  return [tensorType(data.element, sizes, reducedValues(node, data, gone.size === rank))];
};

/** A product over all values of a shape is how exporters count elements. */
function reducedValues(node: OpNode, data: TensorType, whole: boolean): readonly number[] | undefined {
  if (!whole || !data.values?.every((value): value is number => value !== undefined)) return undefined;
  switch (node.operator) {
    case "ReduceProd":
      return [data.values.reduce((product, value) => product * value, 1)];
    case "ReduceSum":
      return [data.values.reduce((total, value) => total + value, 0)];
    case "ReduceMax":
      return [Math.max(...data.values)];
    case "ReduceMin":
      return [Math.min(...data.values)];
    default:
      return undefined;
  }
}

const argument: ShapeRule = (node) => {
  const shape = node.tensor(0)?.shape;
  if (!shape) return [tensorType(Element.INT64, undefined)];
  const axis = wrapAxis(node.int("axis") ?? 0, shape.length);
  const keep = (node.int("keepdims") ?? 1) === 1;
  return [
    tensorType(
      Element.INT64,
      shape.flatMap((size, at) => (at === axis ? (keep ? [1] : []) : [size])),
    ),
  ];
};

const topK: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const count = node.int("k") ?? node.tensor(1)?.values?.[0] ?? -1;
  const axis = wrapAxis(node.int("axis") ?? -1, data.shape?.length ?? 0);
  const shape = data.shape?.map((size, at) => (at === axis ? count : size));
  return [tensorType(data.element, shape), tensorType(Element.INT64, shape)];
};

const batchNormalisation: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const statistics = tensorType(node.tensor(3)?.element ?? data.element, node.tensor(3)?.shape);
  return [tensorType(data.element, data.shape), ...repeated<ValueType>(statistics, 4)];
};

/** Layer normalisation: the further outputs are mean and inverse deviation, of the type that it calculates in. */
export const layerNormalisation: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const axis = wrapAxis(node.int("axis") ?? -1, data.shape?.length ?? 0);
  const side = data.shape?.map((size, at) => (at < axis ? size : 1));
  const element = node.int("stash_type") ?? Element.FLOAT;
  return [tensorType(data.element, data.shape), tensorType(element, side), tensorType(element, side)];
};

const dropout: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const mask = node.opset < 10 ? data.element : Element.BOOL;
  return [tensorType(data.element, data.shape), tensorType(mask, data.shape)];
};

const reductions =
  "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare";

/** Operators that reduce, choose among and normalise the elements of a tensor. */
export const reducingRules: ShapeRules = {
  ...Object.fromEntries(reductions.split(" ").map((name) => [name, reduceAxes])),
  ArgMax: argument,
  ArgMin: argument,
  TopK: topK,
  BatchNormalization: batchNormalisation,
  LayerNormalization: layerNormalisation,
  RMSNormalization: layerNormalisation,
  Dropout: dropout,
};
