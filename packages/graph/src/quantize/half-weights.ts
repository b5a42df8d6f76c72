import { clone } from "@bufbuild/protobuf";
import { toHalf } from "@longshore/core/internal";
import {
  type GraphProto,
  type ModelProto,
  type NodeProto,
  tensorDims,
  type TensorProto,
  tensorProto,
} from "../onnx/index.ts";
import { ModelProtoSchema, TensorProto_DataType as Element } from "../onnx/onnx_pb.ts";
import { bodies } from "../shape/index.ts";
import { newNode } from "./editor.ts";
import { floatsOf } from "./floats.ts";

/** Smaller tensors save nothing that their `Cast` would not take again. */
const leastElements = 64;
/** The largest value that 16 bits hold. */
const mostHalf = 65504;

/**
 * The model with its weights stored in 16 bits and cast back where they are used. Runtimes cast once, while they load: half
 * the file, the same speed, and the answers of weights with 11 significant bits. Tensors with values beyond 16 bits stay.
 */
export function withHalfWeights(model: ModelProto): ModelProto {
  const copy = clone(ModelProtoSchema, model);
  // The first version that lets stored tensors stay out of the list of inputs.
  if (copy.irVersion < 4n) copy.irVersion = 4n;
  if (copy.graph) halve(copy.graph);
  return copy;
}

function halve(graph: GraphProto): void {
  const nodes: NodeProto[] = [];
  const taken = new Set([
    ...graph.initializer.map(({ name }) => name),
    ...graph.node.flatMap((node) => [...node.input, ...node.output]),
  ]);
  const fresh = (base: string): string => {
    let name = `${base}-half`;
    while (taken.has(name)) name += "-";
    taken.add(name);
    return name;
  };
  const cast = (from: string, to: string): NodeProto =>
    newNode("Cast", [from], to, { attributes: { to: { int: Element.FLOAT } } });
  const outputs = new Set(graph.output.map(({ name }) => name));
  const renamed = new Set<string>();
  graph.initializer = graph.initializer.map((tensor) => {
    const half = outputs.has(tensor.name) ? undefined : halved(tensor);
    if (!half) return tensor;
    renamed.add(tensor.name);
    half.name = fresh(tensor.name);
    nodes.push(cast(half.name, tensor.name));
    return half;
  });
  graph.input = graph.input.filter(({ name }) => !renamed.has(name));
  graph.valueInfo = graph.valueInfo.filter(({ name }) => !renamed.has(name));
  for (const node of graph.node) {
    for (const body of bodies(node)) halve(body);
    nodes.push(node);
    const value = node.opType === "Constant" ? node.attribute.find((one) => one.name === "value") : undefined;
    const half = value?.t && halved(value.t);
    const [name = ""] = node.output;
    if (!value || !half) continue;
    value.t = half;
    node.output[0] = fresh(name);
    nodes.push(cast(node.output[0], name));
  }
  graph.node = nodes;
}

function halved(tensor: TensorProto): TensorProto | undefined {
  const values = floatsOf(tensor);
  if (!values || values.length < leastElements) return undefined;
  if (!values.every((value) => Math.abs(value) <= mostHalf)) return undefined;
  return tensorProto(tensor.name, "FP16", tensorDims(tensor), Uint16Array.from(values, toHalf));
}
