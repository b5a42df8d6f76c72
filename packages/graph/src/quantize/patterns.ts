import { type NodeProto, tensorDims } from "../onnx/index.ts";
import { type GraphEditor, isPlain, newNode } from "./editor.ts";

/**
 * Writes what converters spell out in the operators that say it, exactly: products with 1 and hand-throughs go, and a gate
 * of four steps becomes `HardSigmoid`.
 */
export function simplifyPatterns(editor: GraphEditor): void {
  for (const node of editor.graph.node.slice()) {
    if (isPlain(node, "Identity", "Dropout", "Mul", "Div")) dropIdle(editor, node);
  }
  for (const node of editor.graph.node.slice()) if (isPlain(node, "Clip")) hardGate(editor, node);
  for (const node of editor.graph.node.slice()) if (isPlain(node, "HardSwish")) spellSwish(editor, node);
  editor.sweep();
}

/** The one value of a stored tensor that holds a single FP32 number. */
export function scalarOf(editor: GraphEditor, name: string | undefined): number | undefined {
  const values = editor.floats(name);
  return values?.length === 1 ? values[0] : undefined;
}

/** The activation and the number of a node that combines one of each; for `Div` and `Sub` the number is the second. */
function withNumber(
  editor: GraphEditor,
  node: NodeProto,
): { readonly input: string; readonly value: number } | undefined {
  const [a = "", b = ""] = node.input;
  const second = scalarOf(editor, b);
  if (second !== undefined && !editor.stored(a)) return { input: a, value: second };
  const first = isPlain(node, "Mul", "Add") ? scalarOf(editor, a) : undefined;
  return first === undefined || editor.stored(b) ? undefined : { input: b, value: first };
}

function dropIdle(editor: GraphEditor, node: NodeProto): void {
  const [output = "", mask = ""] = node.output;
  const input = isPlain(node, "Identity", "Dropout") ? node.input[0] : idleInput(editor, node);
  // An output of the model has to keep its name, and a mask its maker.
  if (input === undefined || mask !== "" || editor.isOutput(output)) return;
  // Bodies of control flow read by name.
  if (editor.consumers(output).some((reader) => !reader.input.includes(output))) return;
  editor.redirect(output, input);
  editor.replace(node, []);
}

function idleInput(editor: GraphEditor, node: NodeProto): string | undefined {
  const found = withNumber(editor, node);
  const name = node.input.find((input) => input !== found?.input) ?? "";
  const tensor = editor.stored(name);
  // A factor of more axes than what it multiplies would add axes; a scalar never does.
  return found?.value === 1 && tensor && tensorDims(tensor).length <= 1 ? found.input : undefined;
}

/**
 * `x clip(x + 3, 0, 6) / 6` and its relatives: with the division after the product or before it. `clip(x + s, 0, m)` is `m
 * HardSigmoid(x)`, and the factors cancel.
 */
function hardGate(editor: GraphEditor, clip: NodeProto): void {
  const most = scalarOf(editor, clip.input[2]);
  const sum = editor.producer(clip.input[0] ?? "");
  if (
    scalarOf(editor, clip.input[1]) !== 0 ||
    most === undefined ||
    most <= 0 ||
    !sum ||
    !isPlain(sum, "Add")
  )
    return;
  const shifted = withNumber(editor, sum);
  const gated = editor.soleConsumer(clip.output[0] ?? "");
  if (!shifted || !gated) return;
  const gate = (output: string): NodeProto =>
    newNode("HardSigmoid", [shifted.input], output, {
      attributes: { alpha: { float: 1 / most }, beta: { float: shifted.value / most } },
    });
  if (divides(editor, gated, most)) {
    editor.replace(clip, [gate(gated.output[0] ?? "")]);
    editor.replace(gated, []);
    return;
  }
  const last = isPlain(gated, "Mul") ? editor.soleConsumer(gated.output[0] ?? "") : undefined;
  if (!last || !divides(editor, last, most)) return;
  editor.replace(clip, [gate(clip.output[0] ?? "")]);
  gated.output[0] = last.output[0] ?? "";
  editor.replace(last, []);
}

/** Whether a node divides by a number, or multiplies by its inverse. */
function divides(editor: GraphEditor, node: NodeProto, number: number): boolean {
  const found = isPlain(node, "Div", "Mul") ? withNumber(editor, node) : undefined;
  if (!found) return false;
  const divisor = node.opType === "Div" ? found.value : 1 / found.value;
  return Math.abs(divisor - number) < 1e-6 * number;
}

function spellSwish(editor: GraphEditor, node: NodeProto): void {
  const [input = "", output = ""] = [node.input[0], node.output[0]];
  const gate = editor.fresh(`${output}-gate`);
  const attributes = { alpha: { float: 1 / 6 }, beta: { float: 0.5 } };
  editor.replace(node, [
    newNode("HardSigmoid", [input], gate, { attributes }),
    newNode("Mul", [input, gate], output),
  ]);
}
