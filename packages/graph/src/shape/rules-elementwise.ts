import { TensorProto_DataType as Element } from "../onnx/onnx_pb.ts";
import type { OpNode, ShapeRule, ShapeRules } from "./op-node.ts";
import { tensorType, type TensorType, type ValueType } from "./type.ts";

type Partial = number | undefined;

/** Same type and shape as the first input; values are not followed. */
export const sameAsFirst: ShapeRule = (node) => {
  const type = node.value(0);
  if (type?.kind !== "tensor") return [type];
  return [tensorType(type.element, type.shape)];
};

/** Same shape as the first input, with another element type. */
export function shapeOfFirst(element: number): ShapeRule {
  return (node) => [tensorType(element, node.tensor(0)?.shape)];
}

/** Sizes of the result of broadcasting, as NumPy defines it. */
export function broadcast(shapes: readonly (readonly number[] | undefined)[]): readonly number[] | undefined {
  let result: readonly number[] = [];
  for (const shape of shapes) {
    if (!shape) return undefined;
    const [long, short] = shape.length > result.length ? [shape, result] : [result, shape];
    const shift = long.length - short.length;
    result = long.map((size, axis) => broadcastSize(size, short[axis - shift] ?? 1));
  }
  return result;
}

function broadcastSize(a: number, b: number): number {
  if (a === 1) return b;
  if (b === 1) return a;
  if (a === -1) return b;
  return a;
}

/** Values of an elementwise operation on small tensors: equal counts, or one of them a single value. */
function combine(
  types: readonly (TensorType | undefined)[],
  operation: (values: readonly number[]) => number,
): readonly Partial[] | undefined {
  const lists = types.map((type) => type?.values);
  if (!lists.every((list): list is readonly Partial[] => list !== undefined)) return undefined;
  const count = Math.max(...lists.map((list) => list.length));
  if (!lists.every((list) => list.length === count || list.length === 1)) return undefined;
  return Array.from({ length: count }, (_unused, index) => {
    const values = lists.map((list) => list[list.length === 1 ? 0 : index]);
    return values.every((value): value is number => value !== undefined) ? operation(values) : undefined;
  });
}

function tensors(node: OpNode, from = 0): readonly (TensorType | undefined)[] {
  return Array.from({ length: node.inputs - from }, (_unused, index) => node.tensor(index + from));
}

/** Operators with broadcasting. `element` fixes the element type of the result; default: that of the first input. */
function broadcasting(operation?: (values: readonly number[]) => number, element?: number): ShapeRule {
  return (node) => {
    const inputs = tensors(node);
    const kind = element ?? inputs[0]?.element ?? inputs[1]?.element;
    if (kind === undefined) return [];
    // Before version 7 the second input was stretched to the first by an attribute.
    const old = node.opset < 7 && node.int("broadcast") !== undefined;
    const shape = old ? inputs[0]?.shape : broadcast(inputs.map((type) => type?.shape));
    return [tensorType(kind, shape, operation && combine(inputs, operation))];
  };
}

/** Elementwise on one input, values followed. */
function mapping(operation: (value: number) => number): ShapeRule {
  return (node) => {
    const type = node.tensor(0);
    if (!type) return [];
    const values = type.values?.map((value) => (value === undefined ? undefined : operation(value)));
    return [tensorType(type.element, type.shape, values)];
  };
}

const integers: ReadonlySet<number> = new Set([
  Element.INT64,
  Element.INT32,
  Element.INT16,
  Element.INT8,
  Element.UINT64,
  Element.UINT32,
  Element.UINT16,
  Element.UINT8,
]);

const divide: ShapeRule = (node) => {
  const whole = integers.has(node.tensor(0)?.element ?? 0);
  return broadcasting(([a = 0, b = 1]) => (whole ? Math.trunc(a / b) : a / b))(node);
};

const where: ShapeRule = (node) => {
  const [condition, yes, no] = [node.tensor(0), node.tensor(1), node.tensor(2)];
  const element = yes?.element ?? no?.element;
  if (element === undefined) return [];
  const shape = broadcast([condition?.shape, yes?.shape, no?.shape]);
  return [
    tensorType(
      element,
      shape,
      combine([condition, yes, no], ([test = 0, a = 0, b = 0]) => (test ? a : b)),
    ),
  ];
};

/** Cast of values to another element type: to an integer it drops the fraction. */
export function castValues(type: TensorType | undefined, element: number): ValueType {
  const whole = integers.has(element);
  const values = type?.values?.map((value) =>
    value === undefined
      ? undefined
      : element === Element.BOOL
        ? Number(value !== 0)
        : whole
          ? Math.trunc(value)
          : value,
  );
  return tensorType(element, type?.shape, values);
}

const castNames: Readonly<Record<string, number>> = { ...Element };

const cast: ShapeRule = (node) => {
  // The first version of the operator named the type in words.
  const element = node.opset < 6 ? castNames[node.text("to") ?? ""] : node.int("to");
  return element ? [castValues(node.tensor(0), element)] : [];
};

const castLike: ShapeRule = (node) => {
  const element = node.tensor(1)?.element;
  return element === undefined ? [] : [castValues(node.tensor(0), element)];
};

const unaryNames =
  "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Celu Clip Cos Cosh CumSum CumProd Elu Erf Exp Gelu HardSigmoid " +
  "HardSwish Hardmax InstanceNormalization LeakyRelu Log LogSoftmax LRN LpNormalization " +
  "MeanVarianceNormalization Mish Not PRelu Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softmax Softplus " +
  "Softsign Swish Tan Tanh ThresholdedRelu Trilu ReverseSequence ScatterElements ScatterND Scatter " +
  "GroupNormalization RotaryEmbedding TensorScatter Crop ImageScaler ParametricSoftplus ScaledTanh Affine " +
  "DynamicSlice Gradient Bernoulli RandomNormalLike RandomUniformLike";

const likeRandom: ShapeRule = (node) => {
  const element = node.int("dtype") ?? node.tensor(0)?.element;
  return element === undefined ? [] : [tensorType(element, node.tensor(0)?.shape)];
};

/** Operators that work element by element, or keep the shape. */
export const elementwiseRules: ShapeRules = {
  ...Object.fromEntries(unaryNames.split(" ").map((name) => [name, sameAsFirst])),
  Identity: (node) => [node.value(0)],
  Neg: mapping((value) => -value),
  Floor: mapping(Math.floor),
  Ceil: mapping(Math.ceil),
  Sqrt: mapping(Math.sqrt),
  Bernoulli: likeRandom,
  RandomNormalLike: likeRandom,
  RandomUniformLike: likeRandom,
  IsNaN: shapeOfFirst(Element.BOOL),
  IsInf: shapeOfFirst(Element.BOOL),
  Add: broadcasting(([a = 0, b = 0]) => a + b),
  Sub: broadcasting(([a = 0, b = 0]) => a - b),
  Mul: broadcasting(([a = 0, b = 0]) => a * b),
  Div: divide,
  Mod: broadcasting(([a = 0, b = 1]) => (b === 0 ? 0 : ((a % b) + b) % b)),
  Pow: broadcasting(([a = 0, b = 0]) => a ** b),
  BitShift: broadcasting(),
  BitwiseAnd: broadcasting(),
  BitwiseOr: broadcasting(),
  BitwiseXor: broadcasting(),
  Max: broadcasting((values) => Math.max(...values)),
  Min: broadcasting((values) => Math.min(...values)),
  Sum: broadcasting((values) => values.reduce((total, value) => total + value, 0)),
  Mean: broadcasting(),
  And: broadcasting(([a = 0, b = 0]) => Number(a !== 0 && b !== 0), Element.BOOL),
  Or: broadcasting(([a = 0, b = 0]) => Number(a !== 0 || b !== 0), Element.BOOL),
  Xor: broadcasting(([a = 0, b = 0]) => Number((a !== 0) !== (b !== 0)), Element.BOOL),
  Equal: broadcasting(([a = 0, b = 0]) => Number(a === b), Element.BOOL),
  Greater: broadcasting(([a = 0, b = 0]) => Number(a > b), Element.BOOL),
  GreaterOrEqual: broadcasting(([a = 0, b = 0]) => Number(a >= b), Element.BOOL),
  Less: broadcasting(([a = 0, b = 0]) => Number(a < b), Element.BOOL),
  LessOrEqual: broadcasting(([a = 0, b = 0]) => Number(a <= b), Element.BOOL),
  Where: where,
  Cast: cast,
  CastLike: castLike,
};
