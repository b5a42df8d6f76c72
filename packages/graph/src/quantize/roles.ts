import { type NodeProto, tensorDims } from "../onnx/index.ts";
import { TensorProto_DataType as Element } from "../onnx/onnx_pb.ts";
import { knownCount, type Types, usedNames } from "../shape/index.ts";
import { type GraphEditor, floatOf, intOf, isPlain, textAttribute } from "./editor.ts";
import { trimmedDims } from "./floats.ts";
import { scalarOf } from "./patterns.ts";

/*
 * The role of each node of a simplified graph. Only products with stored weights gain by 8-bit codes; all other nodes are there
 * to keep codes as codes between two of them, because going to fractions and back costs a pass over memory and loses the gain.
 * So the weighted nodes are chosen first, and other nodes join if a later node wants codes.
 */

/** How a node is written. */
export type Role =
  /** Weights of 8 bits, codes in, codes (convolutions) or fractions (products of matrices) out. */
  | { readonly kind: "weighted"; readonly axis: number }
  /** Calculates with the values that codes stand for, and gives codes of its own range. */
  | { readonly kind: "calculating" }
  /** Moves codes; their meaning stays. */
  | { readonly kind: "moving" }
  /** `y = factor x + shift`: the same codes have another meaning. */
  | { readonly kind: "relabelling"; readonly factor: number; readonly shift: number; readonly input: string }
  /** `clip(x, least, most)`, times a factor that codes do not notice. */
  | {
      readonly kind: "clipping";
      readonly least: number;
      readonly most: number;
      readonly factor: number;
      readonly shift: number;
    };

const calculating: ReadonlySet<string> = new Set([
  "Add",
  "AveragePool",
  "Concat",
  "GlobalAveragePool",
  "LeakyRelu",
  "Mul",
  "Sigmoid",
]);
const moving: ReadonlySet<string> = new Set([
  "DepthToSpace",
  "Flatten",
  "MaxPool",
  "Reshape",
  "Resize",
  "Slice",
  "SpaceToDepth",
  "Squeeze",
  "Transpose",
  "Unsqueeze",
]);

/** The axis of the stored weights along which each channel has its own step; undefined where there are none. */
function weightAxis(editor: GraphEditor, node: NodeProto): number | undefined {
  if (!isPlain(node, "Conv", "Gemm", "MatMul")) return undefined;
  const tensor = editor.stored(node.input[1] ?? "");
  if (!tensor || tensor.dataType !== Element.FLOAT) return undefined;
  if ((node.input[2] ?? "") !== "" && !editor.floats(node.input[2])) return undefined;
  const rank = tensorDims(tensor).length;
  if (node.opType === "Conv") return 0;
  if (rank !== 2) return undefined;
  if (node.opType === "MatMul") return 1;
  const plain =
    floatOf(node, "alpha", 1) === 1 && floatOf(node, "beta", 1) === 1 && intOf(node, "transA", 0) === 0;
  const added = editor.stored(node.input[2] ?? "");
  // A sum that varies by row is no bias.
  if (!plain || (added && trimmedDims(added).length > 1)) return undefined;
  return intOf(node, "transB", 0) === 1 ? 0 : 1;
}

/** The possible role of a node, whether or not a reader wants its codes. */
function possibleRole(editor: GraphEditor, node: NodeProto, types: Types): Role | undefined {
  const axis = weightAxis(editor, node);
  if (axis !== undefined) return { kind: "weighted", axis };
  const [output = ""] = node.output;
  const type = types.get(output);
  if (type?.kind !== "tensor" || type.element !== Element.FLOAT) return undefined;
  const relabelling = isPlain(node, "Add", "Div", "Mul", "Sub") ? relabellingOf(editor, node) : undefined;
  if (relabelling) return relabelling;
  if (isPlain(node, "Relu")) return { kind: "clipping", least: 0, most: Infinity, factor: 1, shift: 0 };
  if (isPlain(node, "Clip")) {
    const least = node.input[1] ? scalarOf(editor, node.input[1]) : -Infinity;
    const most = node.input[2] ? scalarOf(editor, node.input[2]) : Infinity;
    if (least === undefined || most === undefined || least > 0 || most < 0) return undefined;
    return { kind: "clipping", least, most, factor: 1, shift: 0 };
  }
  if (isPlain(node, "HardSigmoid")) {
    const [alpha, beta] = [floatOf(node, "alpha", 0.2), floatOf(node, "beta", 0.5)];
    if (!(alpha > 0)) return undefined;
    return { kind: "clipping", least: -beta / alpha, most: (1 - beta) / alpha, factor: alpha, shift: beta };
  }
  if (isPlain(node, ...calculating)) {
    // Stored sides are quantised too; a node of stored sides alone was computed before.
    return node.input.every((name) => isFloat(editor, types, name)) ? { kind: "calculating" } : undefined;
  }
  if (!isPlain(node, ...moving) || node.output.length !== 1) return undefined;
  if (node.opType === "Resize" && (textAttribute(node, "mode") ?? "nearest") !== "nearest") return undefined;
  return { kind: "moving" };
}

function isFloat(editor: GraphEditor, types: Types, name: string): boolean {
  if (editor.stored(name)) return editor.floats(name) !== undefined;
  const type = types.get(name);
  return type?.kind === "tensor" && type.element === Element.FLOAT;
}

function relabellingOf(editor: GraphEditor, node: NodeProto): Role | undefined {
  const [a = "", b = ""] = node.input;
  const second = scalarOf(editor, b);
  const first = second === undefined ? scalarOf(editor, a) : undefined;
  const value = second ?? first;
  if (value === undefined) return undefined;
  const input = second === undefined ? b : a;
  switch (node.opType) {
    case "Add":
      return { kind: "relabelling", factor: 1, shift: value, input };
    case "Mul":
      return value > 0 ? { kind: "relabelling", factor: value, shift: 0, input } : undefined;
    case "Sub":
      return second === undefined ? undefined : { kind: "relabelling", factor: 1, shift: -value, input };
    default:
      return second !== undefined && value > 0
        ? { kind: "relabelling", factor: 1 / value, shift: 0, input }
        : undefined;
  }
}

/** Convolutions of a few values (after a global mean) gain nothing and lose precision. */
const leastOutputs = 4096;

/**
 * Chooses the roles: `leftOut` names weighted nodes (by their output) that keep fractions, and those that are too small to
 * gain are left out as well.
 */
export function rolesOf(
  editor: GraphEditor,
  types: Types,
  leftOut: ReadonlySet<string>,
): ReadonlyMap<NodeProto, Role> {
  const possible = new Map<NodeProto, Role>();
  for (const node of editor.graph.node) {
    const role = possibleRole(editor, node, types);
    const [output = ""] = node.output;
    if (role && !(role.kind === "weighted" && (leftOut.has(output) || tiny(node, types))))
      possible.set(node, role);
  }
  const wanted = new Set<string>();
  for (const node of editor.graph.node.toReversed()) {
    const role = possible.get(node);
    const wants =
      role?.kind === "weighted" || (role !== undefined && node.output.some((name) => wanted.has(name)));
    if (wants) wanted.add(node.input[0] ?? "");
    if (wants && role?.kind === "calculating") for (const name of node.input) wanted.add(name);
    if (wants && role?.kind === "relabelling") wanted.add(role.input);
  }
  const coded = new Set<string>();
  const roles = new Map<NodeProto, Role>();
  for (const node of editor.graph.node) {
    const role = possible.get(node);
    const [output = ""] = node.output;
    if (!role) continue;
    const sources =
      role.kind === "relabelling"
        ? [role.input]
        : role.kind === "calculating"
          ? usedNames(node)
          : [node.input[0] ?? ""];
    const has = sources.some((name) => coded.has(name));
    // A mean over everything reads much and gives little, wanted or not.
    const reduces = isPlain(node, "GlobalAveragePool");
    if (role.kind !== "weighted" && !(has && (wanted.has(output) || reduces))) continue;
    roles.set(node, role);
    // Products of matrices give fractions.
    if (role.kind !== "weighted" || isPlain(node, "Conv")) coded.add(output);
  }
  return roles;
}

function tiny(node: NodeProto, types: Types): boolean {
  if (node.opType !== "Conv") return false;
  const type = types.get(node.output[0] ?? "");
  const count = type?.kind === "tensor" ? knownCount(type.shape) : undefined;
  const spots = type?.kind === "tensor" && type.shape?.slice(2).every((size) => size === 1);
  return spots === true && count !== undefined && count < leastOutputs;
}

/** Names of the tensors whose ranges are needed to write the roles: all that could be coded. */
export function codedNames(editor: GraphEditor, types: Types): readonly string[] {
  const names = new Set<string>();
  for (const node of editor.graph.node) {
    if (!possibleRole(editor, node, types)) continue;
    for (const name of [...node.input, ...node.output]) {
      if (name !== "" && !editor.stored(name) && isFloat(editor, types, name)) names.add(name);
    }
  }
  return [...names];
}
