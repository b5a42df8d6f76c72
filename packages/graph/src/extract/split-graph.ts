import { type Datatype, LongshoreError } from "@longshore/core";
import {
  datatypeOfOnnx,
  elementTypeName,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type ValueInfoProto,
} from "../onnx/index.ts";
import type { Dag, DagTensor } from "../partition/index.ts";
import {
  constantNodes,
  inferTypes,
  storedNames,
  type Types,
  usedNames,
  type ValueType,
} from "../shape/index.ts";

/** A model as an input of splitting: the nodes that run for every input, the constants, and the values between. */
export interface SplitGraph {
  readonly model: ModelProto;
  readonly graph: GraphProto;
  /** Inputs that a caller must give: those of the file without the stored tensors that old files list there too. */
  readonly inputs: readonly ValueInfoProto[];
  /** Outputs that can travel. Sequences and maps are left out, because no wire and no runtime of ours carries them. */
  readonly outputs: readonly ValueInfoProto[];
  /** Outputs that were left out, in words: `"boxes" (a sequence)`. */
  readonly leftOut: readonly string[];
  /** Nodes that the outputs depend on and that depend on the inputs (or on chance), in topological order. */
  readonly nodes: readonly NodeProto[];
  readonly dag: Dag;
  /** Names of the tensors of `dag`, by their index. */
  readonly names: readonly string[];
  /** Constant nodes by the names of what they make. */
  readonly constants: ReadonlyMap<string, NodeProto>;
  /** Position of each node in the file, which is the order that extracted files keep. */
  readonly order: ReadonlyMap<NodeProto, number>;
  readonly types: Types;
}

function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-model", "resolve", message);
}

/**
 * Sees a model as something to split. `known` adds types that a run has shown. Throws `invalid-model` for cycles and for
 * nodes that read what nothing makes, `unsupported` when no output is a tensor or an input is not.
 */
export function splitGraph(model: ModelProto, known: Types = new Map()): SplitGraph {
  const { graph } = model;
  if (!graph) throw invalid("the file holds no ONNX graph");
  const stored = storedNames(graph);
  const inputs = graph.input.filter((input) => !stored.has(input.name));
  const sorted = sortNodes(graph, new Set([...stored, ...inputs.map((input) => input.name)]));
  const order = new Map(sorted.map((node, index) => [node, index]));
  const ordered = sorted === graph.node ? model : { ...model, graph: { ...graph, node: [...sorted] } };
  const types = inferTypes(ordered, known);
  const outputs = tensorOutputs(graph, types);
  for (const input of inputs) needTensor(input.name, types.get(input.name));
  const constant = constantNodes(model, sorted);
  const constants = new Map(
    [...constant].flatMap((node) => node.output.map((name) => [name, node] as const)),
  );
  const nodes = neededNodes(sorted, constant, outputs);
  const { dag, names } = dagOf(nodes, inputs, outputs);
  const leftOut = graph.output
    .filter((output) => !outputs.includes(output))
    .map(({ name }) => inWords(name, types));
  return { model, graph, inputs, outputs, leftOut, nodes, dag, names, constants, order, types };
}

/** The nodes in topological order: the file's own when it is one, as the format demands. */
function sortNodes(graph: GraphProto, given: ReadonlySet<string>): readonly NodeProto[] {
  const makers = new Map<string, NodeProto>();
  for (const node of graph.node) {
    for (const name of node.output) {
      if (name === "") continue;
      if (makers.has(name)) throw invalid(`two nodes of the ONNX graph make "${name}"`);
      makers.set(name, node);
    }
  }
  const made = new Set(["", ...given]);
  const inOrder = graph.node.every((node) => {
    const ready = usedNames(node).every((name) => made.has(name));
    for (const name of node.output) made.add(name);
    return ready;
  });
  for (const { name } of graph.output) {
    if (!given.has(name) && !makers.has(name))
      throw invalid(`nothing in the ONNX graph makes its output "${name}"`);
  }
  return inOrder ? graph.node : depthFirst(graph, given, makers);
}

function depthFirst(
  graph: GraphProto,
  given: ReadonlySet<string>,
  makers: ReadonlyMap<string, NodeProto>,
): readonly NodeProto[] {
  const sorted: NodeProto[] = [];
  const state = new Map<NodeProto, "open" | "done">();
  for (const root of graph.node) {
    if (state.has(root)) continue;
    const stack = [{ node: root, needs: usedNames(root), next: 0 }];
    state.set(root, "open");
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const name = top.needs[top.next++];
      if (name === undefined) {
        state.set(top.node, "done");
        sorted.push(top.node);
        stack.pop();
        continue;
      }
      if (given.has(name)) continue;
      const maker = makers.get(name);
      if (!maker)
        throw invalid(`a ${top.node.opType} node of the ONNX graph reads "${name}", which nothing makes`);
      if (state.get(maker) === "open") throw invalid(`the ONNX graph has a cycle through "${name}"`);
      if (state.has(maker)) continue;
      state.set(maker, "open");
      stack.push({ node: maker, needs: usedNames(maker), next: 0 });
    }
  }
  return sorted;
}

function tensorOutputs(graph: GraphProto, types: Types): readonly ValueInfoProto[] {
  const outputs = graph.output.filter((output) => {
    const type = types.get(output.name);
    return type === undefined || (type.kind === "tensor" && carried(type) !== undefined);
  });
  if (outputs.length === 0) {
    const all = graph.output.map(({ name }) => inWords(name, types));
    throw new LongshoreError(
      "unsupported",
      "resolve",
      `none of the model's outputs is a tensor that can travel: ${all.join(", ")}`,
    );
  }
  return outputs;
}

function inWords(name: string, types: Types): string {
  return `"${name}" (${describeType(types.get(name))})`;
}

function needTensor(name: string, type: ValueType | undefined): void {
  if (type && carried(type) !== undefined) return;
  throw new LongshoreError(
    type ? "unsupported" : "invalid-model",
    "resolve",
    `the model's input "${name}" is ${describeType(type)}; only tensors of known element type can be given`,
  );
}

/**
 * The datatype under which a value can cross; undefined for values that cannot. BF16 is left out: the JavaScript
 * runtimes refuse to hand it over.
 */
export function carried(type: ValueType): Datatype | undefined {
  const datatype = type.kind === "tensor" ? datatypeOfOnnx(type.element) : undefined;
  return datatype === "BF16" ? undefined : datatype;
}

/** A type in words, for messages. */
export function describeType(type: ValueType | undefined): string {
  if (!type) return "of unknown type";
  if (type.kind === "other")
    return type.what === "optional" || type.what === "opaque value" ? `an ${type.what}` : `a ${type.what}`;
  const shape = type.shape ? `[${type.shape.join(", ")}]` : "of unknown rank";
  return `${elementTypeName(type.element)} ${shape}`;
}

function neededNodes(
  sorted: readonly NodeProto[],
  constant: ReadonlySet<NodeProto>,
  outputs: readonly ValueInfoProto[],
): readonly NodeProto[] {
  const needed = new Set(outputs.map((output) => output.name));
  const nodes = sorted.toReversed().filter((node) => {
    if (constant.has(node) || !node.output.some((name) => needed.has(name))) return false;
    for (const name of usedNames(node)) needed.add(name);
    return true;
  });
  return nodes.reverse();
}

function dagOf(
  nodes: readonly NodeProto[],
  inputs: readonly ValueInfoProto[],
  outputs: readonly ValueInfoProto[],
): { readonly dag: Dag; readonly names: readonly string[] } {
  const producers = new Map<string, number>(inputs.map((input) => [input.name, -1]));
  for (const [index, node] of nodes.entries()) {
    for (const name of node.output) if (name !== "") producers.set(name, index);
  }
  const consumers = new Map<string, number[]>();
  for (const [index, node] of nodes.entries()) {
    for (const name of usedNames(node)) {
      const users = consumers.get(name);
      if (users) users.push(index);
      else consumers.set(name, [index]);
    }
  }
  const kept = new Set(outputs.map((output) => output.name));
  const names: string[] = [];
  const tensors: DagTensor[] = [];
  for (const [name, producer] of producers) {
    const users = consumers.get(name) ?? [];
    if (users.length === 0 && !kept.has(name)) continue;
    names.push(name);
    tensors.push({ producer, consumers: users, kept: kept.has(name) });
  }
  return { dag: { nodes: nodes.length, tensors }, names };
}
