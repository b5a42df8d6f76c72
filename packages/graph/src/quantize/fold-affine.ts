import { type NodeProto, tensorDims } from "../onnx/index.ts";
import { floatOf, type GraphEditor, intOf, intsOf, isPlain, textAttribute } from "./editor.ts";
import { floatTensor, trimmedDims } from "./floats.ts";

/** The effect of `y = scale x + shift` on each channel; one value serves all. */
interface Affine {
  readonly input: string;
  readonly scale: Float32Array;
  readonly shift: Float32Array;
}

/**
 * Folds nodes that only scale and shift channels - batch normalisation, products and sums with stored tensors - into the
 * convolution before them, or into the one after them if that is their only reader.
 *
 * Runtimes do so by themselves, but not across quantised values: left alone, each would be a pass over memory and one more
 * rounding. A shift goes into the convolution after it only when that adds no border: its zeros are zeros of its own input.
 */
export function foldAffine(editor: GraphEditor): void {
  let again = true;
  while (again) {
    again = false;
    for (const node of editor.graph.node.slice()) {
      const affine = affineOf(editor, node);
      if (!affine) continue;
      if (foldBack(editor, node, affine) || foldForward(editor, node, affine)) again = true;
    }
  }
  editor.sweep();
}

/** The scale and shift of a node with no other effect, by channel of `[batch, channels, ...]`. */
function affineOf(editor: GraphEditor, node: NodeProto): Affine | undefined {
  if (isPlain(node, "BatchNormalization")) return normalisation(editor, node);
  if (!isPlain(node, "Mul", "Add", "Sub", "Div")) return undefined;
  const [a = "", b = ""] = node.input;
  const first = editor.floats(a);
  const second = editor.floats(b);
  if (!first === !second) return undefined;
  const name = second ? b : a;
  const values = second ?? first ?? new Float32Array();
  const tensor = editor.stored(name);
  // Only what spreads over channels of a picture: a scalar, or [C, 1, 1] with any axes of 1 around it.
  if (!tensor || !perChannel(trimmedDims(tensor), values.length)) return undefined;
  const input = second ? a : b;
  const zero = new Float32Array(values.length);
  const one = zero.map(() => 1);
  switch (node.opType) {
    case "Mul":
      return { input, scale: values, shift: zero };
    case "Add":
      return { input, scale: one, shift: values };
    case "Sub":
      return second
        ? { input, scale: one, shift: values.map((value) => -value) }
        : { input, scale: one.map(() => -1), shift: values };
    default:
      return second ? { input, scale: values.map((value) => 1 / value), shift: zero } : undefined;
  }
}

function perChannel(dims: readonly number[], count: number): boolean {
  return count === 1 || (dims[0] === count && dims.length >= 3 && dims.slice(1).every((size) => size === 1));
}

function normalisation(editor: GraphEditor, node: NodeProto): Affine | undefined {
  const [input = "", ...names] = node.input;
  const [scale, bias, mean, variance] = names.map((name) => editor.floats(name));
  if (!scale || !bias || !mean || !variance) return undefined;
  const epsilon = floatOf(node, "epsilon", 1e-5);
  const factor = scale.map((value, channel) => value / Math.sqrt((variance[channel] ?? 0) + epsilon));
  return {
    input,
    scale: factor,
    shift: bias.map((value, channel) => value - (mean[channel] ?? 0) * (factor[channel] ?? 0)),
  };
}

/** A convolution with its weights as `[out, in / group, ...]` (transposed ones as `[in, out / group, ...]`). */
interface Convolution {
  readonly node: NodeProto;
  readonly weights: Float32Array;
  readonly dims: readonly number[];
  readonly outputs: number;
  readonly group: number;
}

function convolution(editor: GraphEditor, node: NodeProto | undefined): Convolution | undefined {
  if (!node || !isPlain(node, "Conv", "ConvTranspose")) return undefined;
  const name = node.input[1] ?? "";
  const weights = editor.floats(name);
  const tensor = editor.stored(name);
  if (!weights || !tensor) return undefined;
  // A bias that is computed cannot be folded into.
  if ((node.input[2] ?? "") !== "" && !editor.floats(node.input[2])) return undefined;
  const dims = tensorDims(tensor);
  const group = intOf(node, "group", 1);
  const outputs = node.opType === "Conv" ? (dims[0] ?? 0) : (dims[1] ?? 0) * group;
  return { node, weights, dims, outputs, group };
}

function foldBack(editor: GraphEditor, node: NodeProto, { input, scale, shift }: Affine): boolean {
  const before = convolution(editor, editor.producer(input));
  if (!before || editor.soleConsumer(input) !== node) return false;
  if (scale.length !== 1 && scale.length !== before.outputs) return false;
  const { weights, dims, outputs, group } = before;
  const inner = dims.slice(2).reduce((count, size) => count * size, 1);
  const perGroup = outputs / group;
  const factor = (channel: number): number => scale[scale.length === 1 ? 0 : channel] ?? 1;
  if (before.node.opType === "Conv") {
    const each = weights.length / outputs;
    for (let at = 0; at < weights.length; at++)
      weights[at] = (weights[at] ?? 0) * factor(Math.floor(at / each));
  } else {
    const inputsPerGroup = (dims[0] ?? 0) / group;
    for (let at = 0; at < weights.length; at++) {
      const row = Math.floor(at / (perGroup * inner));
      const column = Math.floor(at / inner) % perGroup;
      weights[at] = (weights[at] ?? 0) * factor(Math.floor(row / inputsPerGroup) * perGroup + column);
    }
  }
  const old = editor.floats(before.node.input[2]) ?? new Float32Array(outputs);
  const bias = old.map(
    (value, channel) => value * factor(channel) + (shift[shift.length === 1 ? 0 : channel] ?? 0),
  );
  write(editor, before, weights, bias);
  before.node.output[0] = node.output[0] ?? "";
  editor.replace(node, []);
  return true;
}

function foldForward(editor: GraphEditor, node: NodeProto, { input, scale, shift }: Affine): boolean {
  const output = node.output[0] ?? "";
  const behind = convolution(editor, editor.soleConsumer(output));
  if (!behind || behind.node.opType !== "Conv" || behind.node.input[0] !== output) return false;
  if (shift.some((value) => value !== 0) && hasBorder(behind.node)) return false;
  const { weights, dims, outputs, group } = behind;
  const inputs = dims[1] ?? 0;
  if (scale.length !== 1 && scale.length !== inputs * group) return false;
  const inner = dims.slice(2).reduce((count, size) => count * size, 1);
  const bias = editor.floats(behind.node.input[2]) ?? new Float32Array(outputs);
  for (let at = 0; at < weights.length; at++) {
    const row = Math.floor(at / (inputs * inner));
    const channel = Math.floor(row / (outputs / group)) * inputs + (Math.floor(at / inner) % inputs);
    const value = weights[at] ?? 0;
    bias[row] = (bias[row] ?? 0) + value * (shift[shift.length === 1 ? 0 : channel] ?? 0);
    weights[at] = value * (scale[scale.length === 1 ? 0 : channel] ?? 1);
  }
  write(editor, behind, weights, bias);
  behind.node.input[0] = input;
  editor.replace(node, []);
  return true;
}

function hasBorder(node: NodeProto): boolean {
  const automatic = textAttribute(node, "auto_pad") ?? "NOTSET";
  return (
    automatic.startsWith("SAME") ||
    (automatic === "NOTSET" && (intsOf(node, "pads") ?? []).some((size) => size !== 0))
  );
}

/** Gives a convolution weights and bias of its own: others may share those that it had. */
function write(
  editor: GraphEditor,
  { node, dims }: Convolution,
  weights: Float32Array,
  bias: Float32Array,
): void {
  const name = editor.fresh(`${node.input[1] ?? "weights"}-folded`);
  node.input[1] = editor.store(floatTensor(name, dims, weights));
  node.input[2] = editor.store(floatTensor(editor.fresh(`${name}-bias`), [bias.length], bias));
}
