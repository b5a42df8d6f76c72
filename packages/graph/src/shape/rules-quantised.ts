import { TensorProto_DataType as Element } from "../onnx/onnx_pb.ts";
import type { ShapeRule, ShapeRules } from "./op-node.ts";
import { broadcast } from "./rules-elementwise.ts";
import { convolved, globalPooling, pooling, productShape } from "./rules-network.ts";
import { ofRank, tensorType } from "./type.ts";

/** Quantised result: the type of the zero point (an input), else the one named, else UINT8. */
function quantised(
  shape: (node: Parameters<ShapeRule>[0]) => readonly number[] | undefined,
  zeroPoint: number,
): ShapeRule {
  return (node) => [
    tensorType(node.tensor(zeroPoint)?.element ?? (node.int("output_dtype") || Element.UINT8), shape(node)),
  ];
}

const shapeOf =
  (input: number): ((node: Parameters<ShapeRule>[0]) => readonly number[] | undefined) =>
  (node) =>
    node.tensor(input)?.shape;

const dequantised: ShapeRule = (node) => [
  tensorType(node.int("output_dtype") || (node.tensor(1)?.element ?? Element.FLOAT), node.tensor(0)?.shape),
];

/** Quantised arithmetic, of ONNX and of the runtime's own domain. */
export const quantisedRules: ShapeRules = {
  QuantizeLinear: quantised(shapeOf(0), 2),
  DequantizeLinear: dequantised,
  DynamicQuantizeLinear: (node) => [
    tensorType(Element.UINT8, node.tensor(0)?.shape),
    tensorType(Element.FLOAT, []),
    tensorType(Element.UINT8, []),
  ],
  MatMulInteger: (node) => [
    tensorType(Element.INT32, productShape(node.tensor(0)?.shape, node.tensor(1)?.shape)),
  ],
  ConvInteger: (node) => [convolved(node, node.tensor(0), node.tensor(1), Element.INT32)],
  QLinearMatMul: quantised((node) => productShape(node.tensor(0)?.shape, node.tensor(3)?.shape), 7),
  QLinearConv: (node) => [
    convolved(node, node.tensor(0), node.tensor(3), node.tensor(7)?.element ?? node.tensor(0)?.element),
  ],
};

const binary: ShapeRule = (node) => {
  const element = node.tensor(7)?.element ?? node.tensor(0)?.element;
  return element === undefined
    ? []
    : [tensorType(element, broadcast([node.tensor(0)?.shape, node.tensor(3)?.shape]))];
};

const unary: ShapeRule = (node) => {
  const data = node.tensor(0);
  return data ? [tensorType(data.element, data.shape)] : [];
};

/** The quantised operators that ONNX Runtime adds (`com.microsoft`). */
export const quantisedContribRules: ShapeRules = {
  QLinearAdd: binary,
  QLinearMul: binary,
  QLinearSigmoid: unary,
  QLinearLeakyRelu: unary,
  QLinearSoftmax: unary,
  QLinearAveragePool: (node) => pooling(node).slice(0, 1),
  QLinearGlobalAveragePool: globalPooling,
  QLinearReduceMean: (node) => {
    const element = node.tensor(0)?.element;
    return element === undefined ? [] : [tensorType(element, undefined)];
  },
  QLinearConcat: (node) => {
    const element = node.tensor(1)?.element;
    const rank = node.tensor(2)?.shape?.length;
    if (element === undefined) return [];
    return [ofRank(element, rank)];
  },
  DynamicQuantizeMatMul: (node) => [
    tensorType(Element.FLOAT, productShape(node.tensor(0)?.shape, node.tensor(1)?.shape)),
  ],
  MatMulIntegerToFloat: (node) => [
    tensorType(
      node.tensor(2)?.element ?? Element.FLOAT,
      productShape(node.tensor(0)?.shape, node.tensor(1)?.shape),
    ),
  ],
  QGemm: (node) => [
    tensorType(node.tensor(8)?.element ?? Element.FLOAT, [
      node.tensor(0)?.shape?.[node.int("transA") ? 1 : 0] ?? -1,
      node.tensor(3)?.shape?.[node.int("transB") ? 0 : 1] ?? -1,
    ]),
  ],
  QuantizeLinear: quantised(shapeOf(0), 2),
  DequantizeLinear: dequantised,
};
