import { type NodeProto, type TensorProto, tensorProto } from "../onnx/index.ts";
import { floatOf, intOf, intsOf, newNode, textAttribute } from "./editor.ts";
import { floatTensor } from "./floats.ts";

/** The tools of an upgrade of one node. */
export interface Upgrade {
  /** Version of the operator set that the node was written for, 7 or later. */
  readonly from: number;
  fresh(base: string): string;
  /** Rank of a value, where it is known. */
  rank(name: string): number | undefined;
  /** Whether a node or an output of its graph takes a value. */
  isRead(name: string): boolean;
  /** Stores a tensor beside the node and gives its name. */
  constant(tensor: TensorProto): string;
}

/** The node as version 13 writes it, by one node or several; a text says why it cannot be. */
type Upgrading = (node: NodeProto, around: Upgrade) => readonly NodeProto[] | string;

function drop(node: NodeProto, ...names: readonly string[]): void {
  node.attribute = node.attribute.filter((one) => !names.includes(one.name));
}

function wholes(node: NodeProto, around: Upgrade, name: string, values: readonly number[]): string {
  const tensor = BigInt64Array.from(values.map(BigInt));
  return around.constant(
    tensorProto(around.fresh(`${node.output[0] ?? node.opType}-${name}`), "INT64", [values.length], tensor),
  );
}

function single(node: NodeProto, around: Upgrade, name: string, value: number): string {
  const tensor = floatTensor(
    around.fresh(`${node.output[0] ?? node.opType}-${name}`),
    [],
    Float32Array.of(value),
  );
  return around.constant(tensor);
}

/** An attribute with whole numbers that became a further input at the end. */
const intoInput =
  (name: string, since: number): Upgrading =>
  (node, around) => {
    const values = intsOf(node, name);
    if (around.from >= since || !values) return [node];
    drop(node, name);
    node.input.push(wholes(node, around, name, values));
    return [node];
  };

const clip: Upgrading = (node, around) => {
  if (around.from >= 11) return [node];
  const [least, most] = [floatOf(node, "min", Number.NaN), floatOf(node, "max", Number.NaN)];
  drop(node, "min", "max");
  if (!Number.isNaN(least) || !Number.isNaN(most)) {
    node.input.push(Number.isNaN(least) ? "" : single(node, around, "min", least));
    if (!Number.isNaN(most)) node.input.push(single(node, around, "max", most));
  }
  return [node];
};

const pad: Upgrading = (node, around) => {
  if (around.from >= 11) return [node];
  const pads = intsOf(node, "pads");
  if (!pads) return "it has no pads";
  const value = floatOf(node, "value", 0);
  drop(node, "pads", "value");
  node.input.push(wholes(node, around, "pads", pads), single(node, around, "value", value));
  return [node];
};

const slice: Upgrading = (node, around) => {
  if (around.from >= 10) return [node];
  const [starts, ends, axes] = [intsOf(node, "starts"), intsOf(node, "ends"), intsOf(node, "axes")];
  if (!starts || !ends) return "it has no starts or no ends";
  drop(node, "starts", "ends", "axes");
  node.input.push(wholes(node, around, "starts", starts), wholes(node, around, "ends", ends));
  if (axes) node.input.push(wholes(node, around, "axes", axes));
  return [node];
};

const topK: Upgrading = (node, around) => {
  if (around.from >= 10) return [node];
  const count = intOf(node, "k", -1);
  drop(node, "k");
  node.input.push(wholes(node, around, "k", [count]));
  return [node];
};

/** A node that only acts while a network learns; it passes its input on when it runs. */
const dropout: Upgrading = (node, around) => {
  if (around.from >= 12) return [node];
  const mask = node.output[1] ?? "";
  if (mask !== "" && around.isRead(mask)) return "its mask is used";
  const [from = "", to = ""] = [node.input[0], node.output[0]];
  return [newNode("Identity", [from], to)];
};

const batchNormalisation: Upgrading = (node, around) => {
  if (intOf(node, "spatial", 1) !== 1) return "it normalises every position by itself (spatial 0)";
  if (node.output.slice(1).some((output) => output !== "")) return "it is set up for training";
  if (around.from < 9) drop(node, "spatial");
  return [node];
};

/**
 * Before version 13 all axes from `axis` on are one; since then only that one counts. The same if it is the last, else the
 * tensor is flattened before and reshaped after.
 */
const softmax: Upgrading = (node, around) => {
  const axis = intOf(node, "axis", 1);
  const [input = "", output = ""] = [node.input[0], node.output[0]];
  const rank = around.rank(input);
  drop(node, "axis");
  if (axis === -1 || (rank !== undefined && axis === rank - 1)) {
    return [newNode(node.opType, [input], output, { attributes: { axis: { int: -1 } } })];
  }
  if (axis < 0 && rank === undefined) return "its axis counts from the end of a tensor of unknown rank";
  const [flat, done, shape] = ["flat", "flat-done", "shape"].map((part) => around.fresh(`${output}-${part}`));
  return [
    newNode("Flatten", [input], flat ?? "", { attributes: { axis: { int: axis } } }),
    newNode(node.opType, [flat ?? ""], done ?? "", { attributes: { axis: { int: -1 } } }),
    newNode("Shape", [input], shape ?? ""),
    newNode("Reshape", [done ?? "", shape ?? ""], output),
  ];
};

/** `Upsample` became `Resize`, which since version 11 has to state how positions map. */
const resize: Upgrading = (node, around) => {
  if (node.opType === "Resize" && around.from >= 11) return [node];
  const [input = "", stored] = node.input;
  const written = node.attribute.find((one) => one.name === "scales")?.floats;
  const scales =
    stored ??
    (written &&
      around.constant(
        floatTensor(
          around.fresh(`${node.output[0] ?? ""}-scales`),
          [written.length],
          Float32Array.from(written),
        ),
      ));
  if (scales === undefined) return "it has no scales";
  const attributes = {
    mode: { text: textAttribute(node, "mode") ?? "nearest" },
    coordinate_transformation_mode: { text: "asymmetric" },
    nearest_mode: { text: "floor" },
  };
  return [newNode("Resize", [input, "", scales], node.output[0] ?? "", { attributes })];
};

const scatter: Upgrading = (node) => {
  node.opType = "ScatterElements";
  return [node];
};

const scan: Upgrading = (node, around) => (around.from >= 9 ? [node] : "its batches went with version 9");

/**
 * Operators that read differently in version 13 than in one of 7 to 12, by name; all others mean what they meant (what
 * changed were further types, negative axes and optional parts).
 */
export const upgrades: Readonly<Record<string, Upgrading>> = {
  BatchNormalization: batchNormalisation,
  Clip: clip,
  Dropout: dropout,
  Hardmax: softmax,
  LogSoftmax: softmax,
  Pad: pad,
  ReduceSum: intoInput("axes", 13),
  Resize: resize,
  Scan: scan,
  Scatter: scatter,
  Slice: slice,
  Softmax: softmax,
  Split: intoInput("split", 13),
  Squeeze: intoInput("axes", 13),
  TopK: topK,
  Unsqueeze: intoInput("axes", 13),
  Upsample: resize,
};
