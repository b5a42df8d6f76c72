import type { GraphProto, ModelProto, NodeProto } from "../onnx/index.ts";
import type { AttributeProto, FunctionProto } from "../onnx/onnx_pb.ts";
import { opNode, type ShapeRule, type ShapeRules } from "./op-node.ts";
import { classicRules } from "./rules-classic.ts";
import { contribRules } from "./rules-contrib.ts";
import { controlRules } from "./rules-control.ts";
import { elementwiseRules } from "./rules-elementwise.ts";
import { layoutRules } from "./rules-layout.ts";
import { makingRules, storedType } from "./rules-making.ts";
import { networkRules } from "./rules-network.ts";
import { quantisedRules } from "./rules-quantised.ts";
import { reducingRules } from "./rules-reducing.ts";
import { declaredType, tensorType, type ValueType } from "./type.ts";

/*
 * Infers the types of the tensors of a graph before it runs: element types always if the operators are known, shapes as far as
 * sizes and shape arithmetic allow.
 *
 * Why it is needed: files rarely say the types of inner values, yet the tail of a split must declare its inputs (a runtime
 * refuses inputs without element type, and cannot tell an unknown rank from a scalar). The alternative, asking a runtime, needs
 * one where the graph is cut, and one session for each cut.
 *
 * Invariant: every inferred fact is true for every input that fits the declared inputs. A size that is not certain is -1, a
 * rank that is not certain makes the shape undefined, a type that is not certain makes the value unknown.
 */

const onnxRules: ShapeRules = {
  ...elementwiseRules,
  ...makingRules,
  ...layoutRules,
  ...networkRules,
  ...reducingRules,
  ...quantisedRules,
  ...controlRules,
};

const rulesByDomain: Readonly<Record<string, ShapeRules>> = {
  "": onnxRules,
  "ai.onnx": onnxRules,
  "ai.onnx.ml": classicRules,
  "com.microsoft": contribRules,
  // Old files of one converter put operators of ONNX itself into this domain.
  "org.pytorch.aten": onnxRules,
};

/** Types of the values of a graph by name. */
export type Types = ReadonlyMap<string, ValueType>;

/** Tells whether an operator is understood well enough to know the types of its outputs. */
export function hasRule(node: NodeProto): boolean {
  return ruleOf(node) !== undefined;
}

function ruleOf(node: NodeProto): ShapeRule | undefined {
  const rules = rulesByDomain[node.domain];
  return rules && Object.hasOwn(rules, node.opType) ? rules[node.opType] : undefined;
}

/**
 * Infers the types of all values of the main graph.
 *
 * `known` overrides what the file declares: real shapes of inputs, so that sizes come out for one particular input, or
 * types that a run has shown.
 */
export function inferTypes(model: ModelProto, known: Types = new Map()): Types {
  const { graph } = model;
  if (!graph) return new Map();
  const functions = new Map(model.functions.map((one) => [functionKey(one.domain, one.name), one]));
  const context: Context = { functions, depth: 0, work: { left: maxWork } };
  const scope: Scope = {
    types: new Map(),
    opsets: new Map(model.opsetImport.map(({ domain, version }) => [domain, Number(version)])),
    parameter: () => undefined,
    known,
  };
  inferGraph(
    graph,
    graph.input.map((input) => known.get(input.name) ?? declaredType(input)),
    scope,
    context,
  );
  return scope.types;
}

interface Context {
  readonly functions: ReadonlyMap<string, FunctionProto>;
  readonly depth: number;
  /** Nodes that may still be looked at: bodies within bodies would otherwise take exponential time. */
  readonly work: { left: number };
}

interface Scope {
  readonly types: Map<string, ValueType>;
  readonly outer?: Scope;
  readonly opsets: ReadonlyMap<string, number>;
  readonly known: Types;
  parameter(name: string): AttributeProto | undefined;
}

const maxDepth = 64;
const maxWork = 800_000;

function functionKey(domain: string, name: string): string {
  return `${domain}\u0000${name}`;
}

function lookUp(scope: Scope, name: string): ValueType | undefined {
  for (let at: Scope | undefined = scope; at; at = at.outer) {
    const type = at.types.get(name);
    if (type) return type;
  }
  return undefined;
}

/** Infers a graph whose inputs have the given types; returns the types of its outputs. */
function inferGraph(
  graph: GraphProto,
  inputs: readonly (ValueType | undefined)[],
  scope: Scope,
  context: Context,
): readonly (ValueType | undefined)[] {
  for (const [index, input] of graph.input.entries()) {
    const type = inputs[index] ?? declaredType(input);
    if (type) scope.types.set(input.name, type);
  }
  for (const tensor of graph.initializer) scope.types.set(tensor.name, storedType(tensor));
  for (const sparse of graph.sparseInitializer) {
    if (sparse.values) {
      scope.types.set(sparse.values.name, tensorType(sparse.values.dataType, sparse.dims.map(Number)));
    }
  }
  const declared = new Map<string, ValueType>();
  for (const info of [...graph.valueInfo, ...graph.output]) {
    const type = declaredType(info);
    if (type) declared.set(info.name, type);
  }
  inferNodes(graph.node, declared, scope, context);
  return graph.output.map((output) => lookUp(scope, output.name) ?? declared.get(output.name));
}

function inferNodes(nodes: readonly NodeProto[], declared: Types, scope: Scope, context: Context): void {
  for (const node of nodes) {
    if (context.work.left-- <= 0) return;
    const types = inferNode(node, scope, context);
    for (const [index, name] of node.output.entries()) {
      if (name === "") continue;
      const type = scope.known.get(name) ?? withDeclared(types[index], declared.get(name));
      if (type) scope.types.set(name, type);
    }
  }
}

/**
 * A declared element type fills what no rule knows. Of a declared shape only the rank is taken, and only where none was
 * inferred: exporters often leave sizes there that hold for their example alone.
 */
function withDeclared(
  inferred: ValueType | undefined,
  declared: ValueType | undefined,
): ValueType | undefined {
  if (!inferred || inferred.kind === "other" || declared?.kind !== "tensor") {
    if (inferred || declared?.kind !== "tensor") return inferred ?? declared;
    return tensorType(
      declared.element,
      declared.shape?.map(() => -1),
    );
  }
  if (inferred.shape || !declared.shape) return inferred;
  return tensorType(
    inferred.element,
    declared.shape.map(() => -1),
    inferred.values,
  );
}

function inferNode(node: NodeProto, scope: Scope, context: Context): readonly (ValueType | undefined)[] {
  const body = context.functions.get(functionKey(node.domain, node.opType));
  const around = {
    opset: scope.opsets.get(node.domain) ?? scope.opsets.get(node.domain === "ai.onnx" ? "" : "ai.onnx") ?? 1,
    type: (name: string) => lookUp(scope, name),
    parameter: scope.parameter,
    body: (graph: GraphProto, inputs: readonly (ValueType | undefined)[]) =>
      context.depth >= maxDepth
        ? []
        : inferGraph(
            graph,
            inputs,
            { ...scope, types: new Map(), outer: scope },
            { ...context, depth: context.depth + 1 },
          ),
  };
  if (body) return context.depth >= maxDepth ? [] : inferFunction(node, body, scope, context);
  const rule = ruleOf(node);
  return rule ? rule(opNode(node, around)) : [];
}

/** Infers the body of a function that the model brings along, as if its nodes replaced the call. */
function inferFunction(
  node: NodeProto,
  body: FunctionProto,
  outer: Scope,
  context: Context,
): readonly (ValueType | undefined)[] {
  const given = new Map(node.attribute.map((attribute) => [attribute.name, attribute]));
  const defaults = new Map(body.attributeProto.map((attribute) => [attribute.name, attribute]));
  const scope: Scope = {
    types: new Map(),
    opsets: new Map(body.opsetImport.map(({ domain, version }) => [domain, Number(version)])),
    known: new Map(),
    parameter: (name) => {
      const found = given.get(name) ?? defaults.get(name);
      return found && found.refAttrName !== "" ? outer.parameter(found.refAttrName) : found;
    },
  };
  for (const [index, name] of body.input.entries()) {
    const type = node.input[index] ? lookUp(outer, node.input[index]) : undefined;
    if (type) scope.types.set(name, type);
  }
  inferNodes(body.node, new Map(), scope, { ...context, depth: context.depth + 1 });
  return body.output.map((name) => scope.types.get(name));
}
