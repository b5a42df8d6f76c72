import { type ModelProto, type NodeProto, tensorDims, tensorProto } from "../onnx/index.ts";
import { type Types, usedNames } from "../shape/index.ts";
import { GraphEditor, isPlain, newNode } from "./editor.ts";
import { floatTensor } from "./floats.ts";
import { extremes, type CodeRange } from "./ranges.ts";
import { type Role, rolesOf } from "./roles.ts";
import { type Anchors, type Scale, signedWeights, unsignedScale, widening } from "./scales.ts";

/** Codes of a tensor: the value that holds them and what they mean. */
interface Codes extends Scale {
  readonly name: string;
  /** By how much the values that codes stand for exceed the real ones, all alike, because a zero had to be whole. */
  readonly excess: number;
}

/** How far from a whole code the lower end of a gate may lie; the difference scales every value that passes. */
const gateTolerance = 0.02;
/** The largest code of a bias: half of the range of 32 bits, so that the added products fit. */
const mostBiasCode = 2 ** 30;
/** How much coarser codes may become so that a gate can be cut out of them instead of being computed. */
const mostWidening = 1.25;

/** How a model is quantised. */
export interface Recipe {
  readonly types: Types;
  readonly ranges: ReadonlyMap<string, CodeRange>;
  /** Weighted nodes that keep fractions, by their outputs. */
  readonly leftOut: ReadonlySet<string>;
}

/**
 * Writes a simplified model with quantised values: `QuantizeLinear` and `DequantizeLinear` around nodes that calculate, where
 * runtimes fuse them into one 8-bit kernel, and operators that only move or clip values on the codes themselves.
 *
 * Two points differ from the files of other quantisers. A factor and a shift cost nothing: the same codes are read with another
 * step and zero (`y = a x + b` has the step `a s` and the zero `z - b / (a s)`). That needs `b / (a s)` to be a whole number,
 * so the step of `x` is fitted to that (`Anchors`), and the remaining difference is taken from the bias of the convolution that
 * reads it: the same small error in every value adds up, where roundings cancel. And a gate `clip(x + 3, 0, 6) / 6` is the
 * codes of `x` clipped, read with another step and zero: so `HardSwish` is a clip of bytes and one product.
 */
export function insertQuantised(model: ModelProto, recipe: Recipe): ModelProto {
  const editor = new GraphEditor(model);
  const writer = new Writer(editor, rolesOf(editor, recipe.types, recipe.leftOut), recipe);
  for (const node of editor.graph.node) writer.write(node);
  writer.finish();
  editor.sweep();
  return editor.model;
}

class Writer {
  readonly #editor: GraphEditor;
  readonly #roles: ReadonlyMap<NodeProto, Role>;
  readonly #ranges: ReadonlyMap<string, CodeRange>;
  readonly #nodes: NodeProto[] = [];
  readonly #codes = new Map<string, Codes>();
  /** Values that are there as fractions, under their own names. */
  readonly #fractions: Set<string>;
  /** The fraction that readers of a quantised value use, by the value's name. */
  readonly #read = new Map<string, string>();
  readonly #done = new Set<NodeProto>();
  readonly #scalars = new Map<string, string>();

  constructor(editor: GraphEditor, roles: ReadonlyMap<NodeProto, Role>, recipe: Recipe) {
    this.#editor = editor;
    this.#roles = roles;
    this.#ranges = recipe.ranges;
    this.#fractions = new Set(editor.graph.input.map(({ name }) => name));
  }

  write(node: NodeProto): void {
    if (this.#done.has(node)) return;
    const role = this.#roles.get(node);
    const written = role && this.#writeAs(node, role);
    if (!written) this.#plain(node);
  }

  finish(): void {
    for (const { name } of this.#editor.graph.output) this.#fraction(name);
    this.#editor.graph.node = this.#nodes;
    this.#editor.changed();
  }

  #writeAs(node: NodeProto, role: Role): boolean {
    switch (role.kind) {
      case "weighted":
        return this.#weighted(node, role.axis);
      case "calculating":
        return this.#calculating(node);
      case "moving":
        return this.#moving(node);
      case "relabelling":
        return this.#relabel(role.input, node.output[0] ?? "", role.factor, role.shift);
      case "clipping":
        return this.#clip(node, role);
    }
  }

  #plain(node: NodeProto): void {
    for (const name of usedNames(node)) this.#fraction(name);
    this.#nodes.push(node);
    for (const name of node.output) this.#fractions.add(name);
  }

  #weighted(node: NodeProto, axis: number): boolean {
    const [input = "", weightName = "", biasName = ""] = node.input;
    const source = this.#codesOf(input);
    const weights = this.#editor.floats(weightName);
    const tensor = this.#editor.stored(weightName);
    if (!source || !weights || !tensor) return false;
    const dims = tensorDims(tensor);
    const added = this.#editor.floats(biasName);
    const bias = withoutExcess(
      // One value for all outputs would have to be in the steps of each.
      added?.length === 1 ? new Float32Array(dims[axis] ?? 1).fill(added[0] ?? 0) : added,
      weights,
      axis === 0 && isPlain(node, "Conv") ? dims[0] : undefined,
      source.excess,
    );
    const { codes, scales } = signedWeights(
      weights,
      dims,
      axis,
      bias?.map((value) => Math.abs(value) / (mostBiasCode * source.scale)),
    );
    const base = this.#editor.fresh(`${weightName}-8bit`);
    const step = this.#store(floatTensor(`${base}-step`, [scales.length], scales));
    const zero = this.#store(
      tensorProto(`${base}-zero`, "INT8", [scales.length], new Int8Array(scales.length)),
    );
    this.#store(tensorProto(base, "INT8", dims, codes));
    const read = `${base}-read`;
    this.#nodes.push(
      newNode("DequantizeLinear", [base, step, zero], read, { attributes: { axis: { int: axis } } }),
    );
    const inputs = [this.#readOf(input), read];
    if (bias) inputs.push(this.#bias(base, bias, source.scale, scales));
    node.input = inputs;
    if (isPlain(node, "Conv")) return this.#coded(node);
    this.#nodes.push(node);
    this.#fractions.add(node.output[0] ?? "");
    return true;
  }

  /** A bias as 32-bit codes in the steps of the products that it is added to. */
  #bias(base: string, values: Float32Array, inputScale: number, weightScales: Float32Array): string {
    const steps = Float32Array.from(
      values,
      (_, at) => inputScale * (weightScales[weightScales.length === 1 ? 0 : at] ?? 1),
    );
    const codes = Int32Array.from(values, (value, at) => Math.round(value / (steps[at] ?? 1)));
    const stored = this.#store(tensorProto(`${base}-bias`, "INT32", [values.length], codes));
    const step = this.#store(floatTensor(`${base}-bias-step`, [values.length], steps));
    const zero = this.#store(
      tensorProto(`${base}-bias-zero`, "INT32", [values.length], new Int32Array(values.length)),
    );
    const read = `${base}-bias-read`;
    this.#nodes.push(
      newNode("DequantizeLinear", [stored, step, zero], read, { attributes: { axis: { int: 0 } } }),
    );
    return read;
  }

  #calculating(node: NodeProto): boolean {
    const output = node.output[0] ?? "";
    if (!this.#ranges.has(output)) return false;
    for (const name of node.input) if (!this.#editor.stored(name) && !this.#codesOf(name)) return false;
    node.input = node.input.map((name) =>
      this.#editor.stored(name) ? this.#storedSide(name) : this.#readOf(name),
    );
    return this.#coded(node);
  }

  /** Adds a node whose result becomes codes, or the result of the clip after it if that is its only reader. */
  #coded(node: NodeProto): boolean {
    let output = node.output[0] ?? "";
    const behind = this.#editor.soleConsumer(output);
    if (
      behind &&
      isPlain(behind, "Relu", "Clip") &&
      this.#ranges.has(behind.output[0] ?? "") &&
      !this.#gateBehind(behind)
    ) {
      this.#done.add(behind);
      output = behind.output[0] ?? "";
    }
    const exact = this.#editor.fresh(`${output}-exact`);
    node.output[0] = exact;
    this.#nodes.push(node);
    const { scale, zero } = this.#scaleFor(output);
    const name = this.#editor.fresh(`${output}-8bit`);
    this.#nodes.push(newNode("QuantizeLinear", [exact, this.#step(scale), this.#zero(zero)], name));
    this.#codes.set(output, { name, scale, zero, excess: 0 });
    return true;
  }

  /** A clip that codes cannot stand in for by the ends of their range: one whose ends lie on one side of zero. */
  #gateBehind(node: NodeProto): boolean {
    const role = this.#roles.get(node);
    if (role?.kind === "clipping") return false;
    return !isPlain(node, "Relu");
  }

  #moving(node: NodeProto): boolean {
    const source = this.#codesOf(node.input[0] ?? "");
    if (!source) return false;
    const output = node.output[0] ?? "";
    const name = this.#editor.fresh(`${output}-8bit`);
    node.input[0] = source.name;
    node.output[0] = name;
    this.#nodes.push(node);
    this.#codes.set(output, { ...source, name });
    return true;
  }

  #relabel(input: string, output: string, factor: number, shift: number): boolean {
    const source = this.#codesOf(input);
    if (!source) return false;
    const scale = Math.fround(source.scale * factor);
    const exact = source.zero - shift / scale;
    const zero = Math.round(exact);
    if (zero < 0 || zero > 255) return false;
    const excess = source.excess * factor + scale * (exact - zero);
    this.#codes.set(output, { name: source.name, scale, zero, excess });
    return true;
  }

  #clip(node: NodeProto, role: Role & { readonly kind: "clipping" }): boolean {
    const [input = "", output = ""] = [node.input[0], node.output[0]];
    const source = this.#codesOf(input);
    if (!source) return false;
    const exactCode = (value: number): number => source.zero + value / source.scale;
    const codeOf = (value: number): number => Math.round(exactCode(value));
    const least = role.least === -Infinity ? 0 : codeOf(role.least);
    const off = Math.abs(exactCode(role.least) - least);
    if (role.factor !== 1 && (least < 0 || off > gateTolerance))
      return this.#shiftedGate(input, output, role);
    const most = role.most === Infinity ? 255 : Math.min(255, codeOf(role.most));
    const name = this.#editor.fresh(`${output}-8bit`);
    this.#nodes.push(newNode("Clip", [source.name, this.#zero(Math.max(0, least)), this.#zero(most)], name));
    // A gate is zero where its clip is least; a plain clip means what its input meant.
    const zero = role.shift === 0 ? source.zero : Math.max(0, least);
    this.#codes.set(output, { name, scale: Math.fround(source.scale * role.factor), zero, excess: 0 });
    return true;
  }

  /** A gate whose lower end lies outside the codes of its input: a sum whose codes end where the gate does. */
  #shiftedGate(input: string, output: string, role: Role & { readonly kind: "clipping" }): boolean {
    const shift = this.#editor.store(
      floatTensor(this.#editor.fresh(`${output}-shift`), [], Float32Array.of(-role.least)),
    );
    const exact = this.#editor.fresh(`${output}-exact`);
    this.#nodes.push(newNode("Add", [this.#readOf(input), this.#storedSide(shift)], exact));
    const scale = Math.fround((role.most - role.least) / 255);
    const name = this.#editor.fresh(`${output}-8bit`);
    this.#nodes.push(newNode("QuantizeLinear", [exact, this.#step(scale), this.#zero(0)], name));
    this.#codes.set(output, { name, scale: Math.fround(scale * role.factor), zero: 0, excess: 0 });
    return true;
  }

  /** A stored side of a sum or product as codes. */
  #storedSide(name: string): string {
    const known = this.#read.get(name);
    if (known !== undefined) return known;
    const values = this.#editor.floats(name) ?? new Float32Array();
    const tensor = this.#editor.stored(name);
    const { scale, zero } = unsignedScale(extremes(values));
    const codes = Uint8Array.from(values, (value) =>
      Math.max(0, Math.min(255, Math.round(value / scale) + zero)),
    );
    const base = this.#editor.fresh(`${name}-8bit`);
    this.#store(tensorProto(base, "UINT8", tensor ? tensorDims(tensor) : [], codes));
    const read = `${base}-read`;
    this.#nodes.push(newNode("DequantizeLinear", [base, this.#step(scale), this.#zero(zero)], read));
    this.#read.set(name, read);
    return read;
  }

  /** Codes of a value; made of fractions when it has none yet. */
  #codesOf(name: string): Codes | undefined {
    const known = this.#codes.get(name);
    if (known || !this.#fractions.has(name) || !this.#ranges.has(name)) return known;
    const { scale, zero } = this.#scaleFor(name);
    const codes = this.#editor.fresh(`${name}-8bit`);
    this.#nodes.push(newNode("QuantizeLinear", [name, this.#step(scale), this.#zero(zero)], codes));
    const made = { name: codes, scale, zero, excess: 0 };
    this.#codes.set(name, made);
    return made;
  }

  #scaleFor(name: string): Scale {
    const range = this.#ranges.get(name) ?? { least: 0, most: 0 };
    const gates: number[] = [];
    const shifts: number[] = [];
    this.#anchors(name, 1, 0, gates, shifts, 0);
    const needed: Anchors = { inside: shifts };
    const all: Anchors = { inside: [...gates, ...shifts] };
    return unsignedScale(
      range,
      widening(range, all) <= mostWidening * widening(range, needed) ? all : needed,
    );
  }

  /** Values whose codes others start from: zeros after relabellings (`shifts`), lower ends of gates. */
  #anchors(
    name: string,
    factor: number,
    shift: number,
    gates: number[],
    shifts: number[],
    depth: number,
  ): void {
    for (const node of this.#editor.consumers(name)) {
      const role = this.#roles.get(node);
      if (role?.kind === "clipping" && role.factor !== 1) gates.push((role.least - shift) / factor);
      if (role?.kind !== "relabelling" || depth > 8) continue;
      const [a, b] = [factor * role.factor, shift * role.factor + role.shift];
      if (b !== 0) shifts.push(-b / a);
      this.#anchors(node.output[0] ?? "", a, b, gates, shifts, depth + 1);
    }
  }

  /** The name under which quantised nodes read a value: the value of its codes. */
  #readOf(name: string): string {
    const codes = this.#codes.get(name);
    if (!codes) return name;
    if (!this.#fractions.has(name)) return this.#fraction(name);
    const known = this.#read.get(name);
    if (known !== undefined) return known;
    const read = this.#editor.fresh(`${name}-read`);
    this.#dequantise(codes, read);
    this.#read.set(name, read);
    return read;
  }

  /** The value under its own name, as fractions. */
  #fraction(name: string): string {
    const codes = this.#codes.get(name);
    if (codes && !this.#fractions.has(name)) {
      this.#dequantise(codes, name);
      this.#fractions.add(name);
      this.#read.set(name, name);
    }
    return name;
  }

  #dequantise(codes: Codes, output: string): void {
    this.#nodes.push(
      newNode("DequantizeLinear", [codes.name, this.#step(codes.scale), this.#zero(codes.zero)], output),
    );
  }

  #step(value: number): string {
    return this.#scalar(`step ${value}`, () => floatTensor("", [], Float32Array.of(value)));
  }

  #zero(code: number): string {
    return this.#scalar(`code ${code}`, () => tensorProto("", "UINT8", [], Uint8Array.of(code)));
  }

  #scalar(name: string, make: () => ReturnType<typeof tensorProto>): string {
    const known = this.#scalars.get(name);
    if (known !== undefined) return known;
    const tensor = make();
    tensor.name = this.#editor.fresh(name);
    this.#scalars.set(name, this.#store(tensor));
    return tensor.name;
  }

  #store(tensor: ReturnType<typeof tensorProto>): string {
    return this.#editor.store(tensor);
  }
}

/** The bias of a convolution that reads values which are all too large by `excess`. */
function withoutExcess(
  bias: Float32Array | undefined,
  weights: Float32Array,
  outputs: number | undefined,
  excess: number,
): Float32Array | undefined {
  if (excess === 0 || outputs === undefined) return bias;
  const each = weights.length / outputs;
  return Float32Array.from({ length: outputs }, (_, channel) => {
    let sum = 0;
    for (let at = channel * each; at < (channel + 1) * each; at++) sum += weights[at] ?? 0;
    return (bias?.[channel] ?? 0) - excess * sum;
  });
}
