import { type NodeProto, tensorDims } from "../onnx/index.ts";
import { type GraphEditor, intOf, intsOf, isPlain, newNode, textAttribute } from "./editor.ts";
import { floatTensor } from "./floats.ts";

/**
 * Turns every transposed convolution whose windows do not overlap into a convolution whose channels are laid out side by
 * side, exactly: runtimes have no 8-bit kernel for the former.
 */
export function layTransposed(editor: GraphEditor): void {
  for (const node of editor.graph.node.slice())
    if (isPlain(node, "ConvTranspose")) laySideBySide(editor, node);
  editor.sweep();
}

/**
 * A transposed convolution with a stride as large as its window writes each input pixel into a square of its own: a 1 x 1
 * convolution to that many more channels, laid out by `DepthToSpace`.
 */
function laySideBySide(editor: GraphEditor, node: NodeProto): void {
  const [input = "", weightName = "", biasName = ""] = node.input;
  const weights = editor.floats(weightName);
  const tensor = editor.stored(weightName);
  const bias = editor.floats(biasName);
  if (!weights || !tensor || (biasName !== "" && !bias)) return;
  const [inputs = 0, outputs = 0, ...window] = tensorDims(tensor);
  const [side = 0] = window;
  const strides = intsOf(node, "strides") ?? [];
  const plain = ["pads", "output_padding"].every((name) =>
    (intsOf(node, name) ?? []).every((size) => size === 0),
  );
  const square = window.length === 2 && side > 1 && [...window, ...strides].every((size) => size === side);
  const undilated = (intsOf(node, "dilations") ?? []).every((size) => size === 1);
  if (!plain || !square || !undilated || strides.length !== 2 || intOf(node, "group", 1) !== 1) return;
  if (intsOf(node, "output_shape") || (textAttribute(node, "auto_pad") ?? "NOTSET") !== "NOTSET") return;
  const places = side * side;
  // Channels in the order [out, row, column], which `DepthToSpace` calls CRD.
  const laid = new Float32Array(weights.length);
  for (let from = 0; from < inputs; from++) {
    for (let to = 0; to < outputs * places; to++)
      laid[to * inputs + from] = weights[from * outputs * places + to] ?? 0;
  }
  const name = editor.fresh(`${weightName}-laid`);
  editor.store(floatTensor(name, [outputs * places, inputs, 1, 1], laid));
  const repeated = new Float32Array(outputs * places).map((_, at) => bias?.[Math.floor(at / places)] ?? 0);
  const biased = editor.store(floatTensor(editor.fresh(`${name}-bias`), [repeated.length], repeated));
  const output = node.output[0] ?? "";
  const wide = editor.fresh(`${output}-wide`);
  editor.replace(node, [
    newNode("Conv", [input, name, biased], wide, { attributes: { kernel_shape: { ints: [1, 1] } } }),
    newNode("DepthToSpace", [wide], output, {
      attributes: { blocksize: { int: side }, mode: { text: "CRD" } },
    }),
  ]);
}
