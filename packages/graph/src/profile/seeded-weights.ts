import { create } from "@bufbuild/protobuf";
import { gaussian, seededRandom } from "@longshore/core";
import { type NodeProto, readModel, type TensorProto, writeModel } from "../onnx/index.ts";
import { TensorProto_DataType as Element, TensorProtoSchema } from "../onnx/onnx_pb.ts";
import { type SplitGraph, splitGraph } from "../extract/index.ts";
import { knownCount } from "../shape/index.ts";

/**
 * A copy of a model whose weights come from `ConstantOfShape` (all equal, so that its answers do not depend on its
 * inputs), with seeded random weights in their place, so that a wrong split shows.
 *
 * The spread follows what each weight does, after He et al., "Delving deep into rectifiers" (2015), taken one step
 * further: the mean square of every activation is estimated along the graph, and the weights of each convolution or
 * product are drawn so that its outputs have mean square 1. So activations neither die nor explode however deep the
 * network is, sums of residual branches included, and a last softmax is not saturated. Scales, variances and means of
 * normalisation lie around 1, 1 and 0. The network still knows nothing.
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
    const count = knownCount(type.shape);
    if (!type.shape || count === undefined) continue;
    const draw = drawThrough(name, draws, split.graph.node);
    const values = Float32Array.from({ length: count }, () => draw.centre + draw.spread * gaussian(random));
    added.push(
      create(TensorProtoSchema, {
        name,
        dataType: Element.FLOAT,
        dims: type.shape.map(BigInt),
        rawData: new Uint8Array((draw.positive ? values.map(Math.abs) : values).buffer),
      }),
    );
    replaced.add(node);
  }
  const { graph } = split;
  return writeModel({
    ...model,
    // The first version that lets stored tensors stay out of the list of inputs.
    irVersion: model.irVersion < 4n ? 4n : model.irVersion,
    graph: {
      ...graph,
      node: graph.node.filter((node) => !replaced.has(node)),
      initializer: [...graph.initializer, ...added],
    },
  });
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

/** How to draw each constant tensor, by what the node that uses it does with it. */
function drawsOf(split: SplitGraph): ReadonlyMap<string, Draw> {
  const draws = new Map<string, Draw>();
  const squares = new Map<string, number>(split.inputs.map((input) => [input.name, 1]));
  for (const node of split.nodes) {
    const data = node.input.filter((name) => squares.has(name));
    const square = meanSquare(
      node,
      data.map((name) => squares.get(name) ?? 1),
    );
    for (const [index, name] of node.input.entries()) {
      if (squares.has(name) || draws.has(name)) continue;
      const rows = fanIn(node, index, split, name);
      draws.set(
        name,
        rows === undefined ? sideDraw(node, index) : { centre: 0, spread: Math.sqrt(1 / (rows * square)) },
      );
    }
    const made = isProduct(node) ? 1 : square;
    for (const name of node.output) squares.set(name, made);
  }
  return draws;
}

function isProduct(node: NodeProto): boolean {
  return ["Conv", "ConvTranspose", "Gemm", "MatMul"].includes(node.opType);
}

/** Mean square of what a node makes of data with these mean squares, before its weights. */
function meanSquare(node: NodeProto, data: readonly number[]): number {
  const sum = data.reduce((total, one) => total + one, 0);
  switch (node.opType) {
    case "Relu":
      return sum / 2;
    case "Add":
    case "Sum":
      return Math.max(sum, 0.01);
    case "GlobalAveragePool":
    case "AveragePool":
      return sum / 3;
    case "Softmax":
    case "Sigmoid":
      return 0.3;
    default:
      return data.length === 0 ? 1 : sum / data.length;
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
  const user = nodes.find(
    (node) =>
      ["Unsqueeze", "Squeeze", "Reshape", "Identity", "Cast"].includes(node.opType) && node.input[0] === name,
  );
  return (user && draws.get(user.output[0] ?? "")) ?? around0;
}
