import type { NodeProto, ValueInfoProto } from "../onnx/index.ts";
import { type ModelProto, valueInfo } from "../onnx/index.ts";
import { crossingTensors, hasNode, type NodeSet } from "../partition/index.ts";
import { usedNames } from "../shape/index.ts";
import type { SplitGraph } from "./split-graph.ts";

/**
 * The part of a model between two legal sets, as a model of its own: the nodes in `to` and not in `from`, with the constants
 * that they use. `from` undefined is the start (all inputs), `to` undefined the end (all outputs).
 *
 * It is taken from the original graph, never from one that a runtime optimised, and keeps the file's version, operator sets,
 * functions, metadata, order of nodes and names of tensors. Tensors that pass by (made before `from`, needed after `to`) are
 * inputs and outputs of the same name, which runtimes hand through.
 */
export function extractSegment(
  split: SplitGraph,
  from: NodeSet | undefined,
  to: NodeSet | undefined,
): ModelProto {
  const { graph, model } = split;
  const inputs = from ? boundary(split, from) : split.inputs;
  const outputs = to ? boundary(split, to) : split.outputs;
  const chosen = new Set(
    split.nodes.filter((_node, index) => !(from && hasNode(from, index)) && (!to || hasNode(to, index))),
  );
  const given = new Set(inputs.map((input) => input.name));
  const needed = withConstants(split, chosen, outputs, given);
  const names = new Set([...needed, ...given]);
  const stored = new Set<string>();
  const initializer = graph.initializer.filter(
    (tensor) => needed.has(tensor.name) && stored.add(tensor.name),
  );
  const sparseInitializer = graph.sparseInitializer.filter(
    (sparse) => sparse.values && needed.has(sparse.values.name) && stored.add(sparse.values.name),
  );
  return {
    ...model,
    trainingInfo: [],
    graph: {
      ...graph,
      node: [...chosen].sort((a, b) => (split.order.get(a) ?? 0) - (split.order.get(b) ?? 0)),
      initializer,
      sparseInitializer,
      // Old files list stored tensors among the inputs, and some runtimes of that time insist on it.
      input: [...inputs, ...graph.input.filter((input) => stored.has(input.name))],
      output: [...outputs],
      valueInfo: graph.valueInfo.filter((info) => names.has(info.name)),
      quantizationAnnotation: graph.quantizationAnnotation.filter((one) => names.has(one.tensorName)),
    },
  };
}

/** The model with tensors inside it as further outputs: to see their sizes and types. Do not time it: it fuses less. */
export function withOutputs(split: SplitGraph, names: readonly string[]): ModelProto {
  const there = new Set(split.graph.output.map((output) => output.name));
  const added = names.filter((name) => !there.has(name)).map((name) => valueInfo(name, undefined, undefined));
  return { ...split.model, graph: { ...split.graph, output: [...split.outputs, ...added] } };
}

/** The tensors that cross at a set, declared as inputs or outputs of a file. */
function boundary(split: SplitGraph, set: NodeSet): readonly ValueInfoProto[] {
  const declared = new Map([...split.graph.output, ...split.inputs].map((info) => [info.name, info]));
  return crossingTensors(split.dag, set).map((index) => {
    const name = split.names[index] ?? "";
    const type = split.types.get(name);
    const info = declared.get(name);
    // The file's own declaration of an input stays, with the names of sizes that vary.
    if (info?.type?.value.case === "tensorType" && split.inputs.includes(info)) return info;
    return type?.kind === "tensor"
      ? valueInfo(name, type.element, type.shape)
      : valueInfo(name, undefined, undefined);
  });
}

/** Adds the constant nodes that the chosen nodes and the outputs rest on; returns every name that is used. */
function withConstants(
  split: SplitGraph,
  chosen: Set<NodeProto>,
  outputs: readonly ValueInfoProto[],
  given: ReadonlySet<string>,
): ReadonlySet<string> {
  const used = new Set<string>();
  const open = [...outputs.map((output) => output.name), ...[...chosen].flatMap(usedNames)];
  for (const node of chosen) for (const name of node.output) used.add(name);
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (used.has(name) || given.has(name)) continue;
    used.add(name);
    const maker = split.constants.get(name);
    if (!maker || chosen.has(maker)) continue;
    chosen.add(maker);
    for (const other of maker.output) used.add(other);
    open.push(...usedNames(maker));
  }
  return used;
}
