import { create } from "@bufbuild/protobuf";
import { elementTypeOf, type ModelProto, type NodeProto, valueInfo } from "../onnx/index.ts";
import { NodeProtoSchema } from "../onnx/onnx_pb.ts";
import { usedNames } from "../shape/index.ts";

/**
 * A model whose outputs of lists of maps from class to score (`ZipMap`, which converters of classical models append) are the
 * table of scores itself, `[batch, classes]` with the classes in the order in which the file names them, under the same name.
 * No wire format carries the maps, and they hold nothing else. Other models come back as they are.
 */
export function plainOutputs(model: ModelProto): ModelProto {
  const { graph } = model;
  const zips = new Map<string, NodeProto>();
  for (const node of graph?.node ?? []) {
    if (node.domain === "ai.onnx.ml" && node.opType === "ZipMap") zips.set(node.output[0] ?? "", node);
  }
  if (!graph || zips.size === 0) return model;
  const outputs = new Set(graph.output.map((output) => output.name));
  const read = new Set(graph.node.flatMap(usedNames));
  const replaced = (name: string): NodeProto | undefined =>
    outputs.has(name) && !read.has(name) ? zips.get(name) : undefined;
  return {
    ...model,
    graph: {
      ...graph,
      node: graph.node.map((node) => {
        if (!replaced(node.output[0] ?? "")) return node;
        const { name, input, output } = node;
        return create(NodeProtoSchema, { name, input, output, opType: "Identity" });
      }),
      output: graph.output.map((output) => {
        const node = replaced(output.name);
        return node ? valueInfo(output.name, elementTypeOf("FP32"), [-1, classesOf(node)]) : output;
      }),
    },
  };
}

/** How many classes a `ZipMap` names; -1 when it names none. */
function classesOf(node: NodeProto): number {
  for (const { name, ints, strings } of node.attribute) {
    if (name === "classlabels_int64s") return ints.length;
    if (name === "classlabels_strings") return strings.length;
  }
  return -1;
}
