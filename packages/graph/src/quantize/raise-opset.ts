import { create } from "@bufbuild/protobuf";
import { LongshoreError } from "@longshore/core";
import { type GraphProto, type NodeProto } from "../onnx/index.ts";
import { OperatorSetIdProtoSchema } from "../onnx/onnx_pb.ts";
import { bodies, inferTypes, usedNames } from "../shape/index.ts";
import type { GraphEditor } from "./editor.ts";
import { type Upgrade, upgrades } from "./opset-upgrades.ts";

/** The first version whose quantised values may have a scale for each channel. */
export const quantisableOpset = 13;
/** The oldest version whose arithmetic spreads sizes as every later one does. */
const oldestOpset = 7;
/** The version of the file format that goes with it; stored tensors need not be inputs as well since the fourth. */
const irVersion = 8n;

/**
 * Raises a model to the operator set that quantised values need, by rewriting every node whose operator has changed since
 * the model's own version: attributes that became inputs, new names, other defaults. A newer model stays what it is.
 *
 * Throws `unsupported`, naming the node, where the change cannot be made.
 */
export function raiseOpset(editor: GraphEditor): void {
  const { model, graph, opset } = editor;
  if (model.irVersion < irVersion) {
    const stored = new Set(graph.initializer.map(({ name }) => name));
    graph.input = graph.input.filter(({ name }) => !stored.has(name));
    model.irVersion = irVersion;
  }
  if (opset >= quantisableOpset) return;
  if (opset < oldestOpset) {
    throw refusal(`the model is of operator set ${opset}; only ${oldestOpset} and later can be raised`);
  }
  const types = inferTypes(model);
  upgradeGraph(graph, {
    from: opset,
    fresh: (base) => editor.fresh(base),
    rank: (name) => {
      const type = types.get(name);
      return type?.kind === "tensor" ? type.shape?.length : undefined;
    },
  });
  model.opsetImport = model.opsetImport.filter(({ domain }) => domain !== "" && domain !== "ai.onnx");
  model.opsetImport.push(create(OperatorSetIdProtoSchema, { domain: "", version: BigInt(quantisableOpset) }));
  editor.changed();
}

function upgradeGraph(graph: GraphProto, around: Omit<Upgrade, "constant" | "isRead">): void {
  const nodes: NodeProto[] = [];
  for (const node of graph.node) {
    for (const body of bodies(node)) upgradeGraph(body, around);
    const upgrade = node.domain === "" || node.domain === "ai.onnx" ? upgrades[node.opType] : undefined;
    if (!upgrade) {
      nodes.push(node);
      continue;
    }
    const constant: Upgrade["constant"] = (tensor) => {
      graph.initializer.push(tensor);
      return tensor.name;
    };
    const isRead: Upgrade["isRead"] = (name) =>
      graph.output.some((output) => output.name === name) ||
      graph.node.some((other) => usedNames(other).includes(name));
    const result = upgrade(node, { ...around, constant, isRead });
    if (typeof result === "string") {
      throw refusal(
        `node "${node.name || (node.output[0] ?? "")}" (${node.opType} of operator set ${around.from}) cannot be raised to ${quantisableOpset}: ${result}`,
      );
    }
    nodes.push(...result);
  }
  graph.node = nodes;
}

function refusal(message: string): LongshoreError {
  return new LongshoreError("unsupported", "resolve", message);
}
