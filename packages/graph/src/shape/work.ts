import type { NodeProto } from "../onnx/index.ts";
import { bodies } from "./captured.ts";
import type { Types } from "./infer.ts";
import { knownBytes, knownCount, type ValueType } from "./type.ts";

/**
 * Multiply-adds of a node for inputs of known sizes, roughly: enough to order cuts by how much lies before them, never a
 * prediction of time. Operators without multiplications count the bytes that they touch, at 8 multiply-adds a byte,
 * about what memory costs on a processor with vector units. Bodies count once. Sizes that vary count as `vary`.
 */
export function nodeWork(node: NodeProto, types: Types, vary = 1): number {
  const type = (name: string | undefined): ValueType | undefined => (name ? types.get(name) : undefined);
  const size = (name: string | undefined): number => elements(type(name), vary);
  const out = size(node.output[0]);
  const moved = [...node.input, ...node.output].reduce((total, name) => total + bytes(type(name), vary), 0);
  return (
    Math.max(
      products(node, out, size, (name) => shapeOf(type(name))),
      moved * 8,
    ) + bodyWork(node, types, vary)
  );
}

function products(
  node: NodeProto,
  out: number,
  size: (name: string | undefined) => number,
  shape: (name: string | undefined) => readonly number[] | undefined,
): number {
  switch (node.opType) {
    case "Conv":
    case "FusedConv":
    case "ConvInteger":
    case "QLinearConv": {
      const weights = node.input[node.opType === "QLinearConv" ? 3 : 1];
      return out * Math.max(1, size(weights) / Math.max(1, shape(weights)?.[0] ?? 1));
    }
    case "ConvTranspose":
      return (
        size(node.input[0]) * Math.max(1, size(node.input[1]) / Math.max(1, shape(node.input[1])?.[0] ?? 1))
      );
    case "MatMul":
    case "MatMulInteger":
    case "FusedMatMul":
    case "QLinearMatMul":
      return out * Math.max(1, shape(node.input[0])?.at(-1) ?? 1);
    case "Gemm": {
      const inner = size(node.input[0]) / Math.max(1, shape(node.input[0])?.[0] ?? 1);
      return out * Math.max(1, inner);
    }
    case "LSTM":
    case "GRU":
    case "RNN": {
      const [length = 1, batch = 1] = shape(node.input[0]) ?? [];
      return Math.abs(length * batch) * (size(node.input[1]) + size(node.input[2]));
    }
    default:
      return 0;
  }
}

function bodyWork(node: NodeProto, types: Types, vary: number): number {
  return bodies(node).reduce(
    (total, body) => total + body.node.reduce((sum, inner) => sum + nodeWork(inner, types, vary), 0),
    0,
  );
}

function shapeOf(type: ValueType | undefined): readonly number[] | undefined {
  return type?.kind === "tensor" ? type.shape : undefined;
}

function elements(type: ValueType | undefined, vary: number): number {
  return knownCount(shapeOf(type)?.map((size) => (size < 0 ? vary : size))) ?? 0;
}

/** Bytes of a value with sizes that vary counted as `vary`; 0 when its rank or type is not known. */
export function bytes(type: ValueType | undefined, vary: number): number {
  if (type?.kind !== "tensor" || !type.shape) return 0;
  return knownBytes({ ...type, shape: type.shape.map((size) => (size < 0 ? vary : size)) }) ?? 0;
}
