import type { OpNode, ShapeRule, ShapeRules } from "./op-node.ts";
import { TensorProto_DataType as Element } from "../onnx/onnx_pb.ts";
import { broadcast } from "./rules-elementwise.ts";

import { ofRank, repeated, tensorType, type TensorType, type ValueType } from "./type.ts";

/** Sliding windows over the axes after batch and channel: kernel, strides, dilations and padding of a node. */
interface Windows {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly pads: readonly number[];
  readonly auto: string;
  readonly ceil: boolean;
}

function windows(node: OpNode, kernel: readonly number[]): Windows {
  const ones = repeated(1, kernel.length);
  return {
    kernel,
    strides: node.ints("strides") ?? ones,
    dilations: node.ints("dilations") ?? ones,
    pads: node.ints("pads") ?? repeated(0, 2 * kernel.length),
    auto: node.text("auto_pad") ?? "NOTSET",
    ceil: node.int("ceil_mode") === 1,
  };
}

/** Size of one axis after sliding windows over it; -1 when its own is not known. */
function slid(size: number, axis: number, on: Windows): number {
  const [kernel = 1, stride = 1, dilation = 1] = [on.kernel[axis], on.strides[axis], on.dilations[axis]];
  if (size < 0 || kernel < 0) return -1;
  const reach = (kernel - 1) * dilation + 1;
  if (on.auto.startsWith("SAME")) return Math.ceil(size / stride);
  const before = on.auto === "VALID" ? 0 : (on.pads[axis] ?? 0);
  const after = on.auto === "VALID" ? 0 : (on.pads[axis + on.kernel.length] ?? 0);
  const steps = (size + before + after - reach) / stride;
  if (!on.ceil) return Math.floor(steps) + 1;
  const count = Math.ceil(steps) + 1;
  // A last window that would begin in the padding after the end is left out.
  return (count - 1) * stride >= size + before ? count - 1 : count;
}

/** Type of a convolution of `data` with `weights` [out, in / group, kernel...]. */
export function convolved(
  node: OpNode,
  data: TensorType | undefined,
  weights: TensorType | undefined,
  element: number | undefined,
): ValueType | undefined {
  if (element === undefined) return undefined;
  const rank = data?.shape?.length ?? weights?.shape?.length;
  const kernel = node.ints("kernel_shape") ?? weights?.shape?.slice(2);
  if (!data?.shape || !kernel) return ofRank(element, rank);
  const on = windows(node, kernel);
  const sides = data.shape.slice(2).map((size, axis) => slid(size, axis, on));
  return tensorType(element, [data.shape[0] ?? -1, weights?.shape?.[0] ?? -1, ...sides]);
}

const convolution: ShapeRule = (node) => {
  const data = node.tensor(0);
  return [convolved(node, data, node.tensor(1), data?.element)];
};

const transposedConvolution: ShapeRule = (node) => {
  const [data, weights] = [node.tensor(0), node.tensor(1)];
  if (!data) return [];
  const kernel = node.ints("kernel_shape") ?? weights?.shape?.slice(2);
  if (!data.shape || !kernel) return [ofRank(data.element, data.shape?.length ?? weights?.shape?.length)];
  const on = windows(node, kernel);
  const extra = node.ints("output_padding") ?? [];
  const given = node.ints("output_shape");
  const sides = data.shape.slice(2).map((size, axis) => {
    if (given) return given[given.length - kernel.length + axis] ?? -1;
    if (size < 0) return -1;
    const [stride = 1, dilation = 1, reach = 1] = [on.strides[axis], on.dilations[axis], kernel[axis]];
    if (on.auto.startsWith("SAME")) return size * stride;
    const pads = on.auto === "VALID" ? 0 : (on.pads[axis] ?? 0) + (on.pads[axis + kernel.length] ?? 0);
    return stride * (size - 1) + (extra[axis] ?? 0) + (reach - 1) * dilation + 1 - pads;
  });
  const perGroup = weights?.shape?.[1] ?? -1;
  const channels = perGroup < 0 ? -1 : perGroup * (node.int("group") ?? 1);
  return [tensorType(data.element, [data.shape[0] ?? -1, channels, ...sides])];
};

/** Pooling; a second output holds the positions of the maxima. */
export const pooling: ShapeRule = (node) => {
  const data = node.tensor(0);
  const kernel = node.ints("kernel_shape");
  if (!data) return [];
  const on = kernel && windows(node, kernel);
  const shape =
    data.shape && on
      ? [...data.shape.slice(0, 2), ...data.shape.slice(2).map((size, axis) => slid(size, axis, on))]
      : undefined;
  return [tensorType(data.element, shape), tensorType(Element.INT64, shape)];
};

/** Pooling over whole planes. */
export const globalPooling: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const shape = data.shape?.map((size, axis) => (axis < 2 ? size : 1));
  return [tensorType(data.element, shape)];
};

const unpooling: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const target = node.tensor(2)?.values;
  if (target)
    return [
      tensorType(
        data.element,
        target.map((size) => size ?? -1),
      ),
    ];
  return [ofRank(data.element, data.shape?.length)];
};

/** Shape of a (batched) matrix product, as NumPy's matmul defines it. */
export function productShape(
  a: readonly number[] | undefined,
  b: readonly number[] | undefined,
): readonly number[] | undefined {
  if (!a || !b || a.length === 0 || b.length === 0) return undefined;
  const batch = broadcast([a.slice(0, -2), b.slice(0, -2)]) ?? [];
  const rows = a.length > 1 ? [a.at(-2) ?? -1] : [];
  const columns = b.length > 1 ? [b.at(-1) ?? -1] : [];
  return [...batch, ...rows, ...columns];
}

const matMul: ShapeRule = (node) => {
  const [a, b] = [node.tensor(0), node.tensor(1)];
  const element = a?.element ?? b?.element;
  return element === undefined ? [] : [tensorType(element, productShape(a?.shape, b?.shape))];
};

const gemm: ShapeRule = (node) => {
  const [a, b] = [node.tensor(0), node.tensor(1)];
  const element = a?.element ?? b?.element;
  if (element === undefined) return [];
  const rows = a?.shape?.[node.int("transA") ? 1 : 0] ?? -1;
  const columns = b?.shape?.[node.int("transB") ? 0 : 1] ?? -1;
  return [tensorType(element, [rows, columns])];
};

const einsum: ShapeRule = (node) => {
  const element = node.tensor(0)?.element;
  if (element === undefined) return [];
  const [left = "", right] = (node.text("equation") ?? "").replaceAll(" ", "").split("->");
  const terms = left.split(",");
  if (left.includes(".")) return [tensorType(element, undefined)];
  const sizes = new Map<string, number>();
  for (const [index, term] of terms.entries()) {
    for (const [axis, letter] of term.split("").entries()) {
      const size = node.tensor(index)?.shape?.[axis] ?? -1;
      if ((sizes.get(letter) ?? -1) < 2) sizes.set(letter, size);
    }
  }
  // Without an arrow the result has the letters that appear once, in alphabetical order.
  const letters = left.replaceAll(",", "").split("");
  const implied = [...new Set(letters)]
    .filter((letter) => letters.filter((one) => one === letter).length === 1)
    .sort()
    .join("");
  return [
    tensorType(
      element,
      (right ?? implied).split("").map((letter) => sizes.get(letter) ?? -1),
    ),
  ];
};

/** LSTM, GRU and RNN: all hidden states, the last one, and for LSTM the last cell. */
const recurrent: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const { element } = data;
  const weights = node.tensor(2)?.shape;
  const directions = weights?.[0] ?? (node.text("direction") === "bidirectional" ? 2 : 1);
  const hidden = node.int("hidden_size") ?? weights?.[2] ?? -1;
  const [first = -1, second = -1] = data.shape ?? [];
  const batchFirst = node.int("layout") === 1;
  const [length, batch] = batchFirst ? [second, first] : [first, second];
  const all = batchFirst ? [batch, length, directions, hidden] : [length, directions, batch, hidden];
  const last = tensorType(element, batchFirst ? [batch, directions, hidden] : [directions, batch, hidden]);
  return [tensorType(element, all), last, last];
};

const nonMaximumSuppression: ShapeRule = () => [tensorType(Element.INT64, [-1, 3])];

const regions: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const pooled = node.ints("pooled_shape");
  const height = node.int("output_height") ?? pooled?.[0] ?? 1;
  const width = node.int("output_width") ?? pooled?.[1] ?? 1;
  return [tensorType(data.element, [node.tensor(1)?.shape?.[0] ?? -1, data.shape?.[1] ?? -1, height, width])];
};

const gridSample: ShapeRule = (node) => {
  const [data, grid] = [node.tensor(0), node.tensor(1)];
  if (!data) return [];
  if (!grid?.shape) return [ofRank(data.element, data.shape?.length)];
  const [n = -1, c = -1] = data.shape ?? [];
  return [tensorType(data.element, [n, c, ...grid.shape.slice(1, -1)])];
};

/** Attention of operator set 23: [batch, sequence, hidden] or [batch, heads, sequence, head size]. */
const attention: ShapeRule = (node) => {
  const [query, key, value] = [node.tensor(0), node.tensor(1), node.tensor(2)];
  if (!query) return [];
  const { element } = query;
  const out =
    query.shape?.length === 4
      ? [...query.shape.slice(0, 3), value?.shape?.[3] ?? -1]
      : query.shape && [...query.shape.slice(0, 2), -1];
  return [
    tensorType(element, out),
    ofRank(key?.element ?? element, 4),
    ofRank(value?.element ?? element, 4),
    ofRank(element, 4),
  ];
};

const fourier: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  return [ofRank(data.element, data.shape?.length)];
};

const window: ShapeRule = (node) => {
  const size = node.tensor(0)?.values?.[0] ?? -1;
  return [tensorType(node.int("output_datatype") ?? Element.FLOAT, [size])];
};

const random: ShapeRule = (node) => [
  tensorType(node.int("dtype") ?? Element.FLOAT, node.ints("shape") ?? []),
];

/** Operators of neural networks: convolutions, pooling, products, recurrence, and what stands alone. */
export const networkRules: ShapeRules = {
  Conv: convolution,
  ConvTranspose: transposedConvolution,
  DeformConv: convolution,
  MaxPool: pooling,
  AveragePool: pooling,
  LpPool: pooling,
  GlobalAveragePool: globalPooling,
  GlobalMaxPool: globalPooling,
  GlobalLpPool: globalPooling,
  MaxUnpool: unpooling,
  MatMul: matMul,
  Gemm: gemm,
  Einsum: einsum,
  Det: (node) => {
    const data = node.tensor(0);
    return data ? [tensorType(data.element, data.shape?.slice(0, -2))] : [];
  },
  LSTM: recurrent,
  GRU: recurrent,
  RNN: recurrent,
  NonMaxSuppression: nonMaximumSuppression,
  RoiAlign: regions,
  MaxRoiPool: regions,
  GridSample: gridSample,
  AffineGrid: (node) => {
    const element = node.tensor(0)?.element;
    const size = node.tensor(1)?.values;
    if (element === undefined) return [];
    if (!size) return [tensorType(element, undefined)];
    const [n, , ...sides] = size.map((one) => one ?? -1);
    return [tensorType(element, [n ?? -1, ...sides, sides.length])];
  },
  Col2Im: (node) => {
    const data = node.tensor(0);
    const sides = node.tensor(1)?.values?.map((one) => one ?? -1);
    if (!data) return [];
    return [
      sides
        ? tensorType(data.element, [data.shape?.[0] ?? -1, -1, ...sides])
        : tensorType(data.element, undefined),
    ];
  },
  Attention: attention,
  DFT: fourier,
  STFT: (node) => {
    const data = node.tensor(0);
    return data ? [tensorType(data.element, [data.shape?.[0] ?? -1, -1, -1, 2])] : [];
  },
  HannWindow: window,
  HammingWindow: window,
  BlackmanWindow: window,
  MelWeightMatrix: (node) => [
    tensorType(node.int("output_datatype") ?? Element.FLOAT, [-1, node.tensor(0)?.values?.[0] ?? -1]),
  ],
  RandomNormal: random,
  RandomUniform: random,
  Multinomial: (node) => [
    tensorType(node.int("dtype") ?? Element.INT32, [
      node.tensor(0)?.shape?.[0] ?? -1,
      node.int("sample_size") ?? 1,
    ]),
  ],
  NegativeLogLikelihoodLoss: (node) => {
    const data = node.tensor(0);
    if (!data) return [];
    return [tensorType(data.element, node.text("reduction") === "none" ? node.tensor(1)?.shape : [])];
  },
  SoftmaxCrossEntropyLoss: (node) => {
    const data = node.tensor(0);
    if (!data) return [];
    const loss = tensorType(data.element, node.text("reduction") === "none" ? node.tensor(1)?.shape : []);
    return [loss, tensorType(data.element, data.shape)];
  },
  StringNormalizer: (node) => [ofRank(Element.STRING, node.tensor(0)?.shape?.length)],
  StringConcat: (node) => [
    tensorType(Element.STRING, broadcast([node.tensor(0)?.shape, node.tensor(1)?.shape])),
  ],
  StringSplit: (node) => {
    const shape = node.tensor(0)?.shape;
    return [tensorType(Element.STRING, shape && [...shape, -1]), tensorType(Element.INT64, shape)];
  },
  RegexFullMatch: (node) => [tensorType(Element.BOOL, node.tensor(0)?.shape)],
  TfIdfVectorizer: (node) => {
    const shape = node.tensor(0)?.shape;
    const indexes = node.ints("ngram_indexes") ?? [-1];
    return [tensorType(Element.FLOAT, shape && [...shape.slice(0, -1), Math.max(...indexes) + 1])];
  },
  ImageDecoder: () => [tensorType(Element.UINT8, [-1, -1, -1])],
};
