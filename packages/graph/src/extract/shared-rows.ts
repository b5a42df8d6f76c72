import type { GraphProto, ModelProto } from "../onnx/index.ts";
import { bodies } from "../shape/index.ts";

/**
 * Operators whose result for a row depends on more than that row: dynamic quantisation takes one scale from the whole tensor,
 * and random operators give another result in each run. A test by examples can miss a small effect of them.
 */
const shared: ReadonlySet<string> = new Set([
  "DynamicQuantizeLinear",
  "DynamicQuantizeMatMul",
  "DynamicQuantizeLSTM",
  "RandomNormal",
  "RandomNormalLike",
  "RandomUniform",
  "RandomUniformLike",
  "Multinomial",
  "Bernoulli",
]);

/** Operators of a model that make the rows of a batch depend on each other, each once; functions and bodies included. */
export function rowSharing(model: ModelProto): readonly string[] {
  const found = new Set<string>();
  const visit = (nodes: GraphProto["node"]): void => {
    for (const node of nodes) {
      if (shared.has(node.opType)) found.add(node.opType);
      for (const body of bodies(node)) visit(body.node);
    }
  };
  visit(model.graph?.node ?? []);
  for (const one of model.functions) visit(one.node);
  return [...found];
}
