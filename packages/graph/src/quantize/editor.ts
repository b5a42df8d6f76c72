import { clone, create } from "@bufbuild/protobuf";
import { LongshoreError } from "@longshore/core";
import {
  attribute,
  type Attribute,
  type GraphProto,
  type ModelProto,
  type NodeProto,
} from "../onnx/index.ts";
import { ModelProtoSchema, NodeProtoSchema, type TensorProto } from "../onnx/onnx_pb.ts";
import { usedNames } from "../shape/index.ts";
import { floatsOf } from "./floats.ts";

/** The further fields of a node that a rewriting adds beside operator and inputs. */
export interface NewNode {
  readonly outputs?: readonly string[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

/**
 * A model that is being rewritten: a copy, so that the file that was read stays as it is. Indices are made at their first use
 * and dropped by every change.
 */
export class GraphEditor {
  readonly model: ModelProto;
  readonly graph: GraphProto;
  #producers: ReadonlyMap<string, NodeProto> | undefined;
  #consumers: ReadonlyMap<string, readonly NodeProto[]> | undefined;
  #stored: Map<string, TensorProto> | undefined;
  #names: Set<string> | undefined;

  constructor(model: ModelProto) {
    this.model = clone(ModelProtoSchema, model);
    if (!this.model.graph) throw new LongshoreError("invalid-model", "resolve", "the model has no graph");
    this.graph = this.model.graph;
  }

  /** Version of ONNX's own operators. */
  get opset(): number {
    return Number(
      this.model.opsetImport.find(({ domain }) => domain === "" || domain === "ai.onnx")?.version ?? 1n,
    );
  }

  producer(name: string): NodeProto | undefined {
    this.#producers ??= new Map(
      this.graph.node.flatMap((node) => node.output.map((output) => [output, node])),
    );
    return this.#producers.get(name);
  }

  /** Nodes that read a value, those that take it into a body included. */
  consumers(name: string): readonly NodeProto[] {
    if (!this.#consumers) {
      const all = new Map<string, NodeProto[]>();
      for (const node of this.graph.node) {
        for (const used of usedNames(node)) {
          const known = all.get(used);
          if (known) known.push(node);
          else all.set(used, [node]);
        }
      }
      this.#consumers = all;
    }
    return this.#consumers.get(name) ?? [];
  }

  /** The one node that reads a value, when no other does and it is no output of the model. */
  soleConsumer(name: string): NodeProto | undefined {
    const [only, ...others] = this.consumers(name);
    const reads = only?.input.filter((input) => input === name).length;
    return others.length === 0 && reads === 1 && !this.isOutput(name) ? only : undefined;
  }

  isOutput(name: string): boolean {
    return this.graph.output.some((output) => output.name === name);
  }

  stored(name: string): TensorProto | undefined {
    this.#stored ??= new Map(this.graph.initializer.map((tensor) => [tensor.name, tensor]));
    return this.#stored.get(name);
  }

  /** Values of a stored FP32 tensor. */
  floats(name: string | undefined): Float32Array | undefined {
    const tensor = name === undefined ? undefined : this.stored(name);
    return tensor && floatsOf(tensor);
  }

  /** A name that no value has yet, made from another. */
  fresh(base: string): string {
    this.#names ??= new Set([
      ...this.graph.input.map(({ name }) => name),
      ...this.graph.initializer.map(({ name }) => name),
      ...this.graph.node.flatMap((node) => [...usedNames(node), ...node.output]),
    ]);
    let name = base;
    for (let count = 2; this.#names.has(name); count++) name = `${base}-${count}`;
    this.#names.add(name);
    return name;
  }

  /** Stores a tensor under a name that no other value has. */
  store(tensor: TensorProto): string {
    this.graph.initializer.push(tensor);
    this.#stored = undefined;
    return tensor.name;
  }

  /** Replaces one node by others. */
  replace(node: NodeProto, by: readonly NodeProto[]): void {
    this.graph.node.splice(this.graph.node.indexOf(node), 1, ...by);
    this.changed();
  }

  /** Lets everything that reads `from` read `to` instead; an output of the model keeps its name. */
  redirect(from: string, to: string): void {
    for (const node of this.consumers(from)) {
      for (const [index, input] of node.input.entries()) if (input === from) node.input[index] = to;
    }
    this.changed();
  }

  changed(): void {
    this.#producers = undefined;
    this.#consumers = undefined;
    this.#stored = undefined;
  }

  /** Drops nodes and stored tensors that no output needs. */
  sweep(): void {
    const needed = new Set(this.graph.output.map(({ name }) => name));
    const kept = new Set<NodeProto>();
    for (const node of this.graph.node.toReversed()) {
      if (!node.output.some((output) => needed.has(output))) continue;
      kept.add(node);
      for (const name of usedNames(node)) needed.add(name);
    }
    const listed = new Set(this.graph.initializer.map(({ name }) => name));
    this.graph.node = this.graph.node.filter((node) => kept.has(node));
    this.graph.initializer = this.graph.initializer.filter(({ name }) => needed.has(name));
    // Old files list stored tensors among the inputs too; those that went must go there as well.
    this.graph.input = this.graph.input.filter(({ name }) => !listed.has(name) || needed.has(name));
    this.changed();
  }
}

/** A node of ONNX's own operators. */
export function newNode(
  operator: string,
  inputs: readonly string[],
  output: string,
  given: NewNode = {},
): NodeProto {
  return create(NodeProtoSchema, {
    name: `${operator} ${output}`,
    opType: operator,
    input: [...inputs],
    output: [...(given.outputs ?? [output])],
    attribute: Object.entries(given.attributes ?? {}).map(([name, value]) => attribute(name, value)),
  });
}

/** Attributes of a node that rewritings read. */
export function intOf(node: NodeProto, name: string, otherwise: number): number {
  const found = node.attribute.find((one) => one.name === name);
  return found ? Number(found.i) : otherwise;
}

export function intsOf(node: NodeProto, name: string): readonly number[] | undefined {
  return node.attribute.find((one) => one.name === name)?.ints.map(Number);
}

export function floatOf(node: NodeProto, name: string, otherwise: number): number {
  return node.attribute.find((one) => one.name === name)?.f ?? otherwise;
}

export function textAttribute(node: NodeProto, name: string): string | undefined {
  const found = node.attribute.find((one) => one.name === name);
  return found && new TextDecoder().decode(found.s);
}

/** Whether an operator is ONNX's own. */
export function isPlain(node: NodeProto, ...operators: readonly string[]): boolean {
  return (node.domain === "" || node.domain === "ai.onnx") && operators.includes(node.opType);
}
