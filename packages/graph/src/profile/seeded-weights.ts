import { create } from "@bufbuild/protobuf";
import { type Random, seededRandom } from "@longshore/core";
import { bytesOf, gaussian } from "@longshore/core/internal";
import {
  type NodeProto,
  readModel,
  tensorDims,
  tensorElements,
  type TensorProto,
  writeModel,
} from "../onnx/index.ts";
import { TensorProto_DataType as Element, TensorProtoSchema } from "../onnx/onnx_pb.ts";
import { type SplitGraph, splitGraph } from "../extract/index.ts";
import { knownCount } from "../shape/index.ts";

/**
 * A copy of a model whose weights come from `ConstantOfShape` (all equal, so that its answers do not depend on its inputs),
 * with seeded random weights instead, so that a wrong split shows.
 *
 * The spread follows what each weight does, after He et al., "Delving deep into rectifiers" (2015), taken one step further: the
 * mean square of every activation is estimated along the graph, and the weights of each convolution or product are drawn so
 * that its outputs have mean square 1. So activations neither die nor explode however deep the network is, sums of residual
 * branches included, and a last softmax is not saturated. Scales, variances and means of normalisation lie around 1, 1 and 0,
 * stored ones as well. The network still knows nothing.
 */
export function withSeededWeights(bytes: Uint8Array, seed: number): Uint8Array {
  const model = readModel(bytes);
  const split = splitGraph(model);
  const random = seededRandom(seed);
  const draws = drawsOf(split);
  const added: TensorProto[] = [];
  const replaced = new Set<NodeProto>();
  for (const node of new Set(split.constants.values())) {
    const name = node.output[0] ?? "";
    const type = split.types.get(name);
    if (node.opType !== "ConstantOfShape" || type?.kind !== "tensor" || type.element !== Element.FLOAT)
      continue;
    if (!type.shape || knownCount(type.shape) === undefined) continue;
    added.push(drawnTensor(name, type.shape, drawThrough(name, draws, split.graph.node), random));
    replaced.add(node);
  }
  const { graph } = split;
  const statistics = normalisationNames(graph.node);
  return writeModel({
    ...model,
    // The first version that lets stored tensors stay out of the list of inputs.
    irVersion: model.irVersion < 4n ? 4n : model.irVersion,
    graph: {
      ...graph,
      node: graph.node.filter((node) => !replaced.has(node)),
      initializer: [
        ...graph.initializer.map((tensor) =>
          statistics.has(tensor.name)
            ? redrawn(tensor, drawThrough(tensor.name, draws, graph.node), random)
            : tensor,
        ),
        ...added,
      ],
    },
  });
}

function drawnTensor(name: string, shape: readonly number[], draw: Draw, random: Random): TensorProto {
  const count = knownCount(shape) ?? 0;
  const values = Float32Array.from({ length: count }, () => draw.centre + draw.spread * gaussian(random));
  return create(TensorProtoSchema, {
    name,
    dataType: Element.FLOAT,
    dims: shape.map(BigInt),
    rawData: bytesOf(draw.positive ? values.map(Math.abs) : values),
  });
}

/**
 * Names of stored tensors that normalise, or scale and shift channels: they were trained with weights that are gone, and
 * would drown what the input says.
 */
function normalisationNames(nodes: readonly NodeProto[]): ReadonlySet<string> {
  const names = new Set<string>();
  const reshaped = new Map(
    nodes.filter(isReshaping).map((node) => [node.output[0] ?? "", node.input[0] ?? ""] as const),
  );
  for (const node of nodes) {
    if (node.opType === "BatchNormalization") for (const name of node.input.slice(1, 5)) names.add(name);
    if (node.opType !== "Mul" && node.opType !== "Add") continue;
    for (const name of node.input) names.add(reshaped.get(name) ?? name);
  }
  return names;
}

function isReshaping(node: NodeProto): boolean {
  return ["Unsqueeze", "Squeeze", "Reshape", "Identity", "Cast"].includes(node.opType);
}

function redrawn(tensor: TensorProto, draw: Draw, random: Random): TensorProto {
  // A single number is part of the arithmetic (a square root, an epsilon), not something trained.
  if (tensor.dataType !== Element.FLOAT || (tensorElements(tensor) ?? 0) < 2) return tensor;
  return drawnTensor(tensor.name, tensorDims(tensor), draw, random);
}

/** The normal distribution that a weight is drawn from. */
interface Draw {
  readonly centre: number;
  readonly spread: number;
  readonly positive?: boolean;
}

const around0: Draw = { centre: 0, spread: 0.1 };
const around1: Draw = { centre: 1, spread: 0.1 };
const variance: Draw = { centre: 1, spread: 0.2, positive: true };

/** Size of the values of a tensor: their mean square, and the share of it that a rectifier lets through. */
interface Size {
  readonly square: number;
  readonly positiveRatio: number;
}

const unit: Size = { square: 1, positiveRatio: 0.5 };

/** How to draw each constant tensor, by what the node that uses it does with it. */
function drawsOf(split: SplitGraph): ReadonlyMap<string, Draw> {
  const draws = new Map<string, Draw>();
  const sizes = new Map<string, Size>(split.inputs.map((input) => [input.name, unit]));
  for (const node of split.nodes) {
    const size = sizeAfter(
      node,
      node.input.flatMap((name) => sizes.get(name) ?? []),
    );
    for (const [index, name] of node.input.entries()) {
      if (sizes.has(name) || draws.has(name)) continue;
      const rows = fanIn(node, index, split, name);
      draws.set(
        name,
        rows === undefined
          ? sideDraw(node, index)
          : { centre: 0, spread: Math.sqrt(1 / (rows * Math.max(1e-3, size.square))) },
      );
    }
    for (const name of node.output) sizes.set(name, isProduct(node) ? unit : size);
  }
  return draws;
}

function isProduct(node: NodeProto): boolean {
  return ["Conv", "ConvTranspose", "Gemm", "MatMul"].includes(node.opType);
}

/** Size of what a node makes of its data; of a product, size of the data that its weights meet. */
function sizeAfter(node: NodeProto, data: readonly Size[]): Size {
  if (data.length === 0) return unit;
  const square = data.reduce((total, one) => total + one.square, 0);
  const positive = data.reduce((total, one) => total + one.square * one.positiveRatio, 0);
  const mean: Size = { square: square / data.length, positiveRatio: positive / square };
  switch (node.opType) {
    case "Relu":
      return { square: mean.square * mean.positiveRatio, positiveRatio: 1 };
    case "Add":
    case "Sum":
      return { ...mean, square };
    case "MaxPool":
      return { ...mean, square: mean.square * 2.5 };
    case "BatchNormalization":
      // Its factors and divisors vary by a tenth or two, which adds a little.
      return { ...mean, square: mean.square * 1.08 };
    case "Softmax":
    case "Sigmoid":
      return { square: 0.3, positiveRatio: 1 };
    default:
      return mean;
  }
}

/** Inputs to each output of the product that a weight takes part in; undefined when it does not multiply data. */
function fanIn(node: NodeProto, index: number, split: SplitGraph, name: string): number | undefined {
  const type = split.types.get(name);
  const shape = type?.kind === "tensor" ? type.shape : undefined;
  const count = knownCount(shape) ?? 1;
  const [first = 1, second = 1] = shape ?? [];
  if (!isProduct(node) || index > 1) return undefined;
  const turned = node.attribute.some((one) => one.name === "transB" && one.i === 1n);
  if (node.opType === "Conv" || (node.opType === "Gemm" && turned))
    return Math.max(1, count / Math.max(1, first));
  if (node.opType === "ConvTranspose") return Math.max(1, count / Math.max(1, second));
  return Math.max(1, first);
}

function sideDraw(node: NodeProto, index: number): Draw {
  if (node.opType === "BatchNormalization")
    return [around0, around1, around0, around0, variance][index] ?? around0;
  if (node.opType.endsWith("Normalization")) return index === 1 ? around1 : around0;
  return node.opType === "Mul" || node.opType === "Div" ? around1 : around0;
}

/** The draw for a tensor, or for what is made of it by reshaping alone. */
function drawThrough(name: string, draws: ReadonlyMap<string, Draw>, nodes: readonly NodeProto[]): Draw {
  const own = draws.get(name);
  if (own) return own;
  const user = nodes.find((node) => isReshaping(node) && node.input[0] === name);
  return (user && draws.get(user.output[0] ?? "")) ?? around0;
}
