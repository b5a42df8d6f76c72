import type { GraphProto, NodeProto } from "../onnx/index.ts";

/**
 * Names that a node reads: its inputs, and what the bodies of `If`, `Loop` and `Scan` (at any depth) take from outside
 * without listing it. A name that a body defines itself is its own, even if the outer graph has one like it.
 */
export function usedNames(node: NodeProto): readonly string[] {
  const used = new Set(node.input.filter((name) => name !== ""));
  for (const body of bodies(node)) for (const name of capturedNames(body)) used.add(name);
  return [...used];
}

/** Graphs among the attributes of a node. */
export function bodies(node: NodeProto): readonly GraphProto[] {
  return node.attribute.flatMap((attribute) =>
    attribute.g ? [attribute.g, ...attribute.graphs] : attribute.graphs,
  );
}

function capturedNames(graph: GraphProto): ReadonlySet<string> {
  const own = new Set<string>();
  for (const input of graph.input) own.add(input.name);
  for (const tensor of graph.initializer) own.add(tensor.name);
  for (const sparse of graph.sparseInitializer) own.add(sparse.values?.name ?? "");
  for (const node of graph.node) for (const name of node.output) own.add(name);
  const captured = new Set<string>();
  for (const node of graph.node) for (const name of usedNames(node)) if (!own.has(name)) captured.add(name);
  // A body may hand out an outer value as it is.
  for (const output of graph.output) if (!own.has(output.name)) captured.add(output.name);
  return captured;
}
