import type { GraphProto, ModelProto, NodeProto } from "../onnx/index.ts";
import { bodies, usedNames } from "./captured.ts";

const chance: ReadonlySet<string> = new Set([
  "Bernoulli",
  "Multinomial",
  "RandomNormal",
  "RandomNormalLike",
  "RandomUniform",
  "RandomUniformLike",
]);

const settled: ReadonlySet<string> = new Set(["", "ai.onnx", "ai.onnx.ml", "com.microsoft"]);

/** Functions that a model brings along, by domain and name, and whether their bodies are deterministic. */
class Determinism {
  readonly #functions: ReadonlyMap<string, readonly NodeProto[]>;
  readonly #known = new Map<string, boolean>();

  constructor(model: ModelProto) {
    this.#functions = new Map(model.functions.map((one) => [`${one.domain}\u0000${one.name}`, one.node]));
  }

  /** Whether a node gives the same outputs for the same inputs every time, as far as its operator is known. */
  of(node: NodeProto): boolean {
    const key = `${node.domain}\u0000${node.opType}`;
    const body = this.#functions.get(key);
    if (body) return this.#ofFunction(key, body);
    if (!settled.has(node.domain) || chance.has(node.opType)) return false;
    return bodies(node).every((graph) => graph.node.every((inner) => this.of(inner)));
  }

  #ofFunction(key: string, body: readonly NodeProto[]): boolean {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    // Functions may not call themselves; one that does counts as unknown.
    this.#known.set(key, false);
    const result = body.every((inner) => this.of(inner));
    this.#known.set(key, result);
    return result;
  }
}

/** Names of the tensors that a graph stores. */
export function storedNames(graph: GraphProto): ReadonlySet<string> {
  const names = new Set(graph.initializer.map((tensor) => tensor.name));
  for (const sparse of graph.sparseInitializer) if (sparse.values) names.add(sparse.values.name);
  return names;
}

/**
 * Nodes whose outputs never change: `Constant`, and everything computed from stored tensors and constants alone
 * (weights made by `ConstantOfShape`, dequantised weights, shape arithmetic on constants). They are no part of a cut:
 * each side gets a copy of those it needs. A node that draws at random is never constant, nor is one that this code
 * does not know.
 */
export function constantNodes(model: ModelProto, nodes: readonly NodeProto[]): ReadonlySet<NodeProto> {
  const determinism = new Determinism(model);
  const fixed = new Set(model.graph ? storedNames(model.graph) : []);
  const constant = new Set<NodeProto>();
  for (const node of nodes) {
    if (!determinism.of(node) || !usedNames(node).every((name) => fixed.has(name))) continue;
    constant.add(node);
    for (const name of node.output) fixed.add(name);
  }
  return constant;
}
