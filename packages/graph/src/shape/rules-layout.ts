import { TensorProto_DataType as Element } from "../onnx/onnx_pb.ts";
import { known, parameterInts, wrapAxis } from "./axes.ts";
import type { ShapeRule, ShapeRules } from "./op-node.ts";
import { shapeFrom } from "./rules-making.ts";
import { knownCount, maxFollowedValues, ofRank, repeated, tensorType, type TensorType } from "./type.ts";

const reshape: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const target = parameterInts(node, "shape", 1);
  const element = data.element;
  if (!target) return [tensorType(element, shapeFrom(node.tensor(1)))];
  const zeroIsZero = node.int("allowzero") === 1;
  const sizes = target.map((value, axis) =>
    value === undefined ? -1 : value === 0 && !zeroIsZero ? (data.shape?.[axis] ?? -1) : value,
  );
  const free = target.flatMap((value, axis) => (value === -1 ? [axis] : []));
  const total = knownCount(data.shape);
  const rest = sizes.reduce(
    (product, one, axis) => (free.includes(axis) ? product : one < 0 ? NaN : product * one),
    1,
  );
  if (free.length === 1 && total !== undefined && rest > 0) sizes[free[0] ?? 0] = total / rest;
  // Values keep their row-major order whatever the shape.
  return [tensorType(element, sizes, data.values)];
};

const flatten: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  if (!data.shape) return [ofRank(data.element, 2)];
  const axis = wrapAxis(node.int("axis") ?? 1, data.shape.length);
  const sides = [data.shape.slice(0, axis), data.shape.slice(axis)];
  return [
    tensorType(
      data.element,
      sides.map((side) => knownCount(side) ?? -1),
    ),
  ];
};

const squeeze: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const { shape } = data;
  const given = node.ints("axes") !== undefined || node.given(1);
  const axes = known(parameterInts(node, "axes", 1));
  if (!shape || (given && !axes)) return [tensorType(data.element, undefined, data.values)];
  // Without axes every size of 1 goes, which is known only when no size varies.
  if (!axes && shape.includes(-1)) return [tensorType(data.element, undefined)];
  const gone = new Set(axes?.map((axis) => wrapAxis(axis, shape.length)));
  const kept = shape.filter((one, axis) => (axes ? !gone.has(axis) : one !== 1));
  return [tensorType(data.element, kept, data.values)];
};

const unsqueeze: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const axes = known(parameterInts(node, "axes", 1));
  if (!data.shape || !axes) return [tensorType(data.element, undefined, data.values)];
  const rank = data.shape.length + axes.length;
  const added = new Set(axes.map((axis) => wrapAxis(axis, rank)));
  const old = data.shape.values();
  const sizes = Array.from({ length: rank }, (_unused, axis) =>
    added.has(axis) ? 1 : (old.next().value ?? -1),
  );
  return [tensorType(data.element, sizes, data.values)];
};

const transpose: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data?.shape) return data ? [tensorType(data.element, undefined)] : [];
  const { shape } = data;
  const order = node.ints("perm") ?? shape.map((_size, axis) => shape.length - 1 - axis);
  return [
    tensorType(
      data.element,
      order.map((axis) => shape[axis] ?? -1),
      shape.length <= 1 ? data.values : undefined,
    ),
  ];
};

const concat: ShapeRule = (node) => {
  const parts = Array.from({ length: node.inputs }, (_unused, index) => node.tensor(index));
  const element = parts.find((part) => part)?.element;
  if (element === undefined) return [];
  const withShape = parts.flatMap((part) => (part?.shape ? [part.shape] : []));
  const rank = withShape[0]?.length;
  if (rank === undefined) return [tensorType(element, undefined)];
  const axis = wrapAxis(node.int("axis") ?? (node.opset < 4 ? 1 : 0), rank);
  const sizes = Array.from({ length: rank }, (_unused, index) => {
    if (index !== axis) return withShape.map((shape) => shape[index] ?? -1).find((one) => one >= 0) ?? -1;
    if (withShape.length < parts.length) return -1;
    return withShape.reduce((total, shape) => {
      const one = shape[index] ?? -1;
      return total < 0 || one < 0 ? -1 : total + one;
    }, 0);
  });
  if (rank !== 1) return [tensorType(element, sizes)];
  const values = parts.map(
    (part) => part?.values ?? (knownCount(part?.shape) === undefined ? undefined : blank(part)),
  );
  return [tensorType(element, sizes, values.every((list) => list !== undefined) ? values.flat() : undefined)];
};

function blank(type: TensorType | undefined): readonly undefined[] {
  return repeated(undefined, Math.min(knownCount(type?.shape) ?? 0, maxFollowedValues + 1));
}

const split: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const { element, shape, values } = data;
  if (!shape) return repeated(tensorType(element, undefined), node.outputs);
  const axis = wrapAxis(node.int("axis") ?? 0, shape.length);
  const total = shape[axis] ?? -1;
  const explicit = parameterInts(node, "split", 1);
  const even = Math.ceil(total / node.outputs);
  let from = 0;
  return Array.from({ length: node.outputs }, (_unused, index) => {
    const last = index === node.outputs - 1;
    const part = explicit
      ? (explicit[index] ?? -1)
      : total < 0 || node.given(1)
        ? -1
        : last
          ? total - even * index
          : even;
    const kept = shape.length === 1 && values && part >= 0 ? values.slice(from, from + part) : undefined;
    from += part;
    return tensorType(
      element,
      shape.map((one, position) => (position === axis ? part : one)),
      kept,
    );
  });
};

const slice: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data?.shape) return data ? [tensorType(data.element, undefined)] : [];
  const old = node.opset < 10;
  const pick = (name: string, input: number) => (old ? node.ints(name) : node.tensor(input)?.values);
  const [starts, ends, axes, steps] = [
    pick("starts", 1),
    pick("ends", 2),
    pick("axes", 3),
    old ? undefined : pick("steps", 4),
  ];
  const rank = data.shape.length;
  if ((!old && node.given(3) && !axes) || !(starts ?? ends)) {
    // Which axes are cut is not known (or how): the rank stays.
    return [ofRank(data.element, rank)];
  }
  const sizes = [...data.shape];
  let values = data.values;
  for (const [index, start] of (starts ?? ends ?? []).entries()) {
    const axis = axes ? axes[index] : index;
    if (axis === undefined) return [ofRank(data.element, rank)];
    const position = wrapAxis(axis, rank);
    const total = data.shape[position] ?? -1;
    const step = node.given(4) && !old ? steps?.[index] : 1;
    const range =
      starts && start !== undefined && ends?.[index] !== undefined && step !== undefined
        ? sliceRange(total, start, ends[index], step)
        : undefined;
    sizes[position] = range ? range.length : -1;
    values = rank === 1 && values && range ? range.map((at) => values?.[at]) : undefined;
  }
  return [tensorType(data.element, sizes, values)];
};

/** Positions that a slice takes from an axis; undefined when the size is not known and matters. */
function sliceRange(
  total: number,
  start: number,
  end: number,
  step: number,
): { readonly length: number; map<T>(pick: (at: number) => T): T[] } | undefined {
  if (total < 0 || step === 0) return undefined;
  const clamp = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value));
  const wrap = (value: number) => (value < 0 ? value + total : value);
  const [from, to] =
    step > 0
      ? [clamp(wrap(start), 0, total), clamp(wrap(end), 0, total)]
      : [clamp(wrap(start), 0, total - 1), clamp(wrap(end), -1, total - 1)];
  const length = Math.max(0, Math.ceil((to - from) / step));
  return {
    length,
    map: (pick) =>
      Array.from({ length: Math.min(length, maxFollowedValues + 1) }, (_unused, index) =>
        pick(from + index * step),
      ),
  };
}

const gather: ShapeRule = (node) => {
  const [data, indices] = [node.tensor(0), node.tensor(1)];
  if (!data) return [];
  if (!data.shape || !indices?.shape) return [tensorType(data.element, undefined)];
  const axis = wrapAxis(node.int("axis") ?? 0, data.shape.length);
  const sizes = [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)];
  const from = data.shape.length === 1 ? data.values : undefined;
  const values =
    from &&
    indices.values?.map((index) => (index === undefined ? undefined : from[wrapAxis(index, from.length)]));
  return [tensorType(data.element, sizes, values)];
};

const gatherElements: ShapeRule = (node) => {
  const data = node.tensor(0);
  return data ? [tensorType(data.element, node.tensor(1)?.shape)] : [];
};

const gatherNd: ShapeRule = (node) => {
  const [data, indices] = [node.tensor(0), node.tensor(1)];
  if (!data) return [];
  const batch = node.int("batch_dims") ?? 0;
  const depth = indices?.shape?.at(-1) ?? -1;
  if (!data.shape || !indices?.shape || depth < 0) return [tensorType(data.element, undefined)];
  return [tensorType(data.element, [...indices.shape.slice(0, -1), ...data.shape.slice(batch + depth)])];
};

const expand: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const target = shapeFrom(node.tensor(1));
  if (!data.shape || !target) return [tensorType(data.element, undefined)];
  const rank = Math.max(data.shape.length, target.length);
  const at = (shape: readonly number[], axis: number) => shape[axis - (rank - shape.length)] ?? 1;
  const own = data.shape;
  const sizes = Array.from({ length: rank }, (_unused, axis) => {
    const [a, b] = [at(own, axis), at(target, axis)];
    return b === 1 ? a : a === 1 || a === -1 ? b : a;
  });
  const count = knownCount(sizes);
  const one = data.values?.length === 1 ? data.values[0] : undefined;
  const values =
    one !== undefined && count !== undefined && count <= maxFollowedValues ? repeated(one, count) : undefined;
  return [tensorType(data.element, sizes, values)];
};

const tile: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data?.shape) return data ? [tensorType(data.element, undefined)] : [];
  const repeats = node.opset < 6 ? undefined : node.tensor(1)?.values;
  return [
    tensorType(
      data.element,
      data.shape.map((one, axis) => {
        const times = repeats?.[axis];
        return one < 0 || times === undefined ? -1 : one * times;
      }),
    ),
  ];
};

const pad: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data?.shape) return data ? [tensorType(data.element, undefined)] : [];
  const rank = data.shape.length;
  const pads = node.ints("pads") ?? node.ints("paddings") ?? node.tensor(1)?.values;
  const axes = node.given(3) ? node.tensor(3)?.values : data.shape.map((_size, axis) => axis);
  if (!pads || !axes || axes.includes(undefined)) return [ofRank(data.element, rank)];
  const sizes = [...data.shape];
  for (const [index, axis] of axes.entries()) {
    const [before, after] = [pads[index], pads[index + axes.length]];
    const position = wrapAxis(axis ?? 0, rank);
    const own = sizes[position] ?? -1;
    sizes[position] = own < 0 || before === undefined || after === undefined ? -1 : own + before + after;
  }
  return [tensorType(data.element, sizes)];
};

const depthToSpace =
  (direction: 1 | -1): ShapeRule =>
  (node) => {
    const data = node.tensor(0);
    if (data?.shape?.length !== 4) return data ? [tensorType(data.element, undefined)] : [];
    const block = node.int("blocksize") ?? 1;
    const [n = -1, c = -1, h = -1, w = -1] = data.shape;
    const scale = (value: number, by: number) => (value < 0 ? -1 : Math.round(value * by));
    const [depth, side] = direction === 1 ? [1 / block ** 2, block] : [block ** 2, 1 / block];
    return [tensorType(data.element, [n, scale(c, depth), scale(h, side), scale(w, side)])];
  };

const resize: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data?.shape) return data ? [tensorType(data.element, undefined)] : [];
  const rank = data.shape.length;
  const scalesAt = node.opset < 11 || node.operator === "Upsample" ? 1 : 2;
  const scales =
    node.attribute("scales")?.floats ?? (node.given(scalesAt) ? node.tensor(scalesAt)?.values : undefined);
  const sizes = node.given(3) ? node.tensor(3)?.values : undefined;
  const axes = node.ints("axes") ?? data.shape.map((_size, axis) => axis);
  const policy = node.text("keep_aspect_ratio_policy") ?? "stretch";
  const result = [...data.shape];
  for (const [index, axis] of axes.entries()) {
    const position = wrapAxis(axis, rank);
    const own = data.shape[position] ?? -1;
    const scale = scales?.[index];
    if (sizes && policy === "stretch") result[position] = sizes[index] ?? -1;
    else result[position] = own < 0 || scale === undefined || sizes ? -1 : Math.floor(own * scale);
  }
  return [tensorType(data.element, result)];
};

const centreCropPad: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data?.shape) return data ? [tensorType(data.element, undefined)] : [];
  const axes = node.ints("axes") ?? data.shape.map((_size, axis) => axis);
  const target = node.tensor(1)?.values;
  const sizes = [...data.shape];
  for (const [index, axis] of axes.entries()) sizes[wrapAxis(axis, sizes.length)] = target?.[index] ?? -1;
  return [tensorType(data.element, sizes)];
};

/** Operators that move, cut and join. */
export const layoutRules: ShapeRules = {
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: transpose,
  Concat: concat,
  Split: split,
  Slice: slice,
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherNd,
  Expand: expand,
  Tile: tile,
  Pad: pad,
  DepthToSpace: depthToSpace(1),
  SpaceToDepth: depthToSpace(-1),
  Resize: resize,
  Upsample: resize,
  CenterCropPad: centreCropPad,
  Compress: (node) => {
    const data = node.tensor(0);
    if (!data) return [];
    const axis = node.int("axis");
    if (axis === undefined) return [ofRank(data.element, 1)];
    const position = wrapAxis(axis, data.shape?.length ?? 0);
    return [
      tensorType(
        data.element,
        data.shape?.map((one, at) => (at === position ? -1 : one)),
      ),
    ];
  },
  NonZero: (node) => [tensorType(Element.INT64, [node.tensor(0)?.shape?.length ?? -1, -1])],
  Unique: (node) => {
    const data = node.tensor(0);
    if (!data) return [];
    const axis = node.int("axis");
    const main = axis === undefined ? ofRank(data.element, 1) : ofRank(data.element, data.shape?.length);
    const side = ofRank(Element.INT64, 1);
    return [main, side, side, side];
  },
};
