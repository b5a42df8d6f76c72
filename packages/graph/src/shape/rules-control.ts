import { TensorProto_DataType as Element } from "../onnx/onnx_pb.ts";
import type { OpNode, ShapeRule, ShapeRules } from "./op-node.ts";
import { wrapAxis } from "./axes.ts";
import { commonType, other, tensorType, type ValueType, typeOf } from "./type.ts";

const condition = tensorType(Element.BOOL, []);

const choose: ShapeRule = (node) => {
  const decided = node.tensor(0)?.values?.[0];
  if (decided !== undefined) return node.body(decided ? "then_branch" : "else_branch", []);
  const [yes, no] = [node.body("then_branch", []), node.body("else_branch", [])];
  return Array.from({ length: node.outputs }, (_unused, index) => {
    const [a, b] = [yes[index], no[index]];
    // One branch may be beyond what is known; both must agree in type anyway.
    const either = a ?? b;
    return a && b
      ? commonType(a, b)
      : either?.kind === "tensor"
        ? tensorType(either.element, undefined)
        : either;
  });
};

/** A value that a loop carries may change its shape from one iteration to the next: only types that stay equal are kept. */
function carried(
  node: OpNode,
  first: readonly (ValueType | undefined)[],
  run: (types: readonly (ValueType | undefined)[]) => readonly (ValueType | undefined)[],
): {
  readonly states: readonly (ValueType | undefined)[];
  readonly last: readonly (ValueType | undefined)[];
} {
  let states = first.map(forgetValues);
  let last = run(states);
  // Each pass can only lose knowledge (sizes, then rank), so it settles after as many passes as there are kinds of loss.
  for (let pass = 0; pass < 3; pass++) {
    states = states.map((state, index) => commonType(state, last[index]) ?? elementOnly(state, last[index]));
    last = run(states);
  }
  return { states: states.slice(0, node.outputs), last };
}

function elementOnly(a: ValueType | undefined, b: ValueType | undefined): ValueType | undefined {
  const known = a ?? b;
  return known?.kind === "tensor" ? tensorType(known.element, undefined) : known;
}

function forgetValues(type: ValueType | undefined): ValueType | undefined {
  return type?.kind === "tensor" ? tensorType(type.element, type.shape) : type;
}

const loop: ShapeRule = (node) => {
  const count = Math.max(0, node.inputs - 2);
  const states = Array.from({ length: count }, (_unused, index) => node.value(index + 2));
  const turn = tensorType(Element.INT64, []);
  const run = (types: readonly (ValueType | undefined)[]) =>
    node.body("body", [turn, condition, ...types]).slice(1);
  const result = carried(node, states, run);
  const scans = result.last.slice(count).map((type) => stack(type, 0, node.tensor(0)?.values?.[0] ?? -1));
  return [...result.states.map(forgetValues), ...scans];
};

function stack(type: ValueType | undefined, axis: number, length: number): ValueType | undefined {
  if (type?.kind !== "tensor") return undefined;
  if (!type.shape) return tensorType(type.element, undefined);
  return tensorType(type.element, type.shape.toSpliced(wrapAxis(axis, type.shape.length + 1), 0, length));
}

const scan: ShapeRule = (node) => {
  // Version 8 has a batch axis in front and an input of lengths.
  if (node.opset < 9) return [];
  const scans = node.int("num_scan_inputs") ?? 0;
  const count = node.inputs - scans;
  const axes = node.ints("scan_input_axes") ?? [];
  let length = -1;
  const slices = Array.from({ length: scans }, (_unused, index) => {
    const type = node.tensor(count + index);
    if (!type?.shape) return type && tensorType(type.element, undefined);
    const axis = wrapAxis(axes[index] ?? 0, type.shape.length);
    length = Math.max(length, type.shape[axis] ?? -1);
    return tensorType(type.element, type.shape.toSpliced(axis, 1));
  });
  const states = Array.from({ length: count }, (_unused, index) => node.value(index));
  const result = carried(node, states, (types) => node.body("body", [...types, ...slices]));
  const outAxes = node.ints("scan_output_axes") ?? [];
  const stacked = result.last.slice(count).map((type, index) => stack(type, outAxes[index] ?? 0, length));
  return [...result.states.slice(0, count).map(forgetValues), ...stacked];
};

function innerOf(type: ValueType | undefined): ValueType | undefined {
  return type?.kind === "other" ? type.inner : type;
}

const splitToSequence: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const keep = (node.int("keepdims") ?? 1) === 1 || node.given(1);
  const axis = wrapAxis(node.int("axis") ?? 0, data.shape?.length ?? 0);
  const shape = data.shape?.flatMap((size, at) => (at === axis ? (keep ? [-1] : []) : [size]));
  return [other("sequence", tensorType(data.element, shape))];
};

/** Operators with bodies, and those on sequences and optionals, which never cross a cut. */
export const controlRules: ShapeRules = {
  If: choose,
  Loop: loop,
  Scan: scan,
  SequenceConstruct: (node) => {
    const types = Array.from({ length: node.inputs }, (_unused, index) => node.value(index));
    return [
      other(
        "sequence",
        types.reduce((a, b) => commonType(a, b)),
      ),
    ];
  },
  SequenceEmpty: (node) => [other("sequence", tensorType(node.int("dtype") ?? Element.FLOAT, undefined))],
  SequenceInsert: (node) => {
    const inner = commonType(innerOf(node.value(0)), node.value(1)) ?? elementOnly(node.value(1), undefined);
    return [other("sequence", inner)];
  },
  SequenceErase: (node) => [node.value(0)],
  SequenceMap: (node) => Array.from({ length: node.outputs }, () => other("sequence")),
  SplitToSequence: splitToSequence,
  SequenceAt: (node) => [innerOf(node.value(0))],
  SequenceLength: () => [tensorType(Element.INT64, [])],
  ConcatFromSequence: (node) => {
    const inner = innerOf(node.value(0));
    if (inner?.kind !== "tensor") return [];
    if (!inner.shape) return [tensorType(inner.element, undefined)];
    const stacked = node.int("new_axis") === 1;
    const axis = wrapAxis(node.int("axis") ?? 0, inner.shape.length + (stacked ? 1 : 0));
    return [
      tensorType(
        inner.element,
        stacked
          ? inner.shape.toSpliced(axis, 0, -1)
          : inner.shape.map((size, at) => (at === axis ? -1 : size)),
      ),
    ];
  },
  Optional: (node) => {
    const declared = node.attribute("type")?.tp;
    const inner = node.value(0) ?? (declared && typeOf(declared));
    return [other("optional", inner)];
  },
  OptionalHasElement: () => [condition],
  OptionalGetElement: (node) => [innerOf(node.value(0))],
};
