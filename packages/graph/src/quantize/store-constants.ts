import { type Call, LongshoreError } from "@longshore/core";
import { elementBytes } from "@longshore/core/internal";
import type { Runtime } from "@longshore/engine";
import { datatypeOfOnnx, type NodeProto, tensorProtoOf, valueInfo } from "../onnx/index.ts";
import { TensorProto_DataType as Element } from "../onnx/onnx_pb.ts";
import { artifactOfModel } from "../profile/index.ts";
import { constantNodes, inferTypes, knownCount, usedNames } from "../shape/index.ts";
import type { GraphEditor } from "./editor.ts";

/** The most bytes that computed constants may take: a table made from two small tensors can be huge. */
const mostComputedBytes = 2 ** 29;

/**
 * Makes stored tensors of all constant values: `Constant` nodes by moving their tensor, values computed from constants alone
 * (reshaped scales, weights of `ConstantOfShape`) by one run of the runtime. Some converters keep all weights in nodes, and a
 * quantiser that looks at stored tensors alone does nothing to such files.
 */
export async function storeConstants(editor: GraphEditor, runtime: Runtime, call: Call): Promise<void> {
  for (const node of editor.graph.node.slice()) {
    const tensor = node.opType === "Constant" && node.attribute.find((one) => one.name === "value")?.t;
    const [name] = node.output;
    if (!tensor || name === undefined) continue;
    tensor.name = name;
    editor.graph.initializer.push(tensor);
    editor.graph.node.splice(editor.graph.node.indexOf(node), 1);
  }
  editor.changed();
  const computed = [...constantNodes(editor.model, editor.graph.node)];
  const names = wanted(editor, computed);
  if (names.length === 0) return;
  const values = await run(editor, computed, names, runtime, call);
  for (const [name, tensor] of values) {
    const proto = tensorProtoOf(tensor);
    proto.name = name;
    editor.graph.initializer.push(proto);
  }
  const gone = new Set(
    computed.filter((node) =>
      node.output.every((name) => values.has(name) || name === "" || !read(editor, name)),
    ),
  );
  editor.graph.node = editor.graph.node.filter((node) => !gone.has(node));
  editor.changed();
}

function read(editor: GraphEditor, name: string): boolean {
  return editor.isOutput(name) || editor.consumers(name).length > 0;
}

/** Values that other nodes read and that can be stored: tensors of a type that travels, of known and bearable size. */
function wanted(editor: GraphEditor, computed: readonly NodeProto[]): readonly string[] {
  const constant = new Set(computed);
  const types = inferTypes(editor.model);
  let bytes = 0;
  return computed.flatMap((node) =>
    node.output.filter((name) => {
      const type = types.get(name);
      const outside = editor.consumers(name).some((reader) => !constant.has(reader));
      if (!outside || type?.kind !== "tensor" || type.element === Element.STRING) return false;
      const datatype = datatypeOfOnnx(type.element);
      if (datatype === undefined) return false;
      bytes += (knownCount(type.shape) ?? 1) * elementBytes(datatype);
      if (bytes > mostComputedBytes) {
        throw new LongshoreError(
          "memory-limit",
          "resolve",
          `the model computes more than ${mostComputedBytes} bytes of constants; store them in the file first`,
        );
      }
      return true;
    }),
  );
}

async function run(
  editor: GraphEditor,
  nodes: readonly NodeProto[],
  names: readonly string[],
  runtime: Runtime,
  call: Call,
): ReturnType<Awaited<ReturnType<Runtime["load"]>>["run"]> {
  const used = new Set(nodes.flatMap((node) => usedNames(node)));
  const model = {
    ...editor.model,
    graph: {
      ...editor.graph,
      node: [...nodes],
      input: [],
      initializer: editor.graph.initializer.filter(({ name }) => used.has(name)),
      output: names.map((name) => valueInfo(name, undefined, undefined)),
      valueInfo: [],
    },
  };
  const session = await runtime.load(artifactOfModel(model), {}, call);
  try {
    return await session.run(new Map(), names, call);
  } finally {
    await session.release();
  }
}
