import { TensorProto_DataType as Element } from "../onnx/onnx_pb.ts";
import type { ShapeRule, ShapeRules } from "./op-node.ts";
import { broadcast, elementwiseRules, sameAsFirst } from "./rules-elementwise.ts";
import { networkRules, productShape } from "./rules-network.ts";
import { quantisedContribRules } from "./rules-quantised.ts";
import { layerNormalisation } from "./rules-reducing.ts";
import { ofRank, tensorType, type ValueType } from "./type.ts";

/** Packed weights [columns, rows]: the result has the rows of the data and `N` columns. */
const packedProduct: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  return [tensorType(data.element, data.shape && [...data.shape.slice(0, -1), node.int("N") ?? -1])];
};

const skipNormalisation: ShapeRule = (node) => {
  const data = node.tensor(0);
  if (!data) return [];
  const side = tensorType(
    Element.FLOAT,
    data.shape?.map((size, axis, all) => (axis < all.length - 1 ? size : 1)),
  );
  return [tensorType(data.element, data.shape), side, side, tensorType(data.element, data.shape)];
};

/** Attention with packed weights: [batch, sequence, hidden] stays, the further outputs are caches of rank 4 or 5. */
function attention(cacheRank: number): ShapeRule {
  return (node) => {
    const data = node.tensor(0);
    if (!data) return [];
    const hidden = node.tensor(0)?.shape;
    const cache: ValueType = ofRank(data.element, cacheRank);
    const width = node.tensor(2)?.shape?.length === 3 ? (node.tensor(2)?.shape?.[2] ?? -1) : -1;
    const shape = hidden?.length === 3 ? [hidden[0] ?? -1, hidden[1] ?? -1, width] : undefined;
    return [tensorType(data.element, shape ?? [-1, -1, -1]), cache, cache];
  };
}

const embedding: ShapeRule = (node) => {
  const ids = node.tensor(0)?.shape;
  const table = node.tensor(2);
  if (!table) return [];
  const shape = [ids?.[0] ?? -1, ids?.[1] ?? -1, table.shape?.[1] ?? -1];
  return [
    tensorType(table.element, shape),
    tensorType(Element.INT32, [shape[0] ?? -1]),
    tensorType(table.element, shape),
  ];
};

const fusedProduct: ShapeRule = (node) => {
  const [a, b] = [node.tensor(0), node.tensor(1)];
  if (!a) return [];
  const turn = (shape: readonly number[] | undefined, turned: boolean) =>
    shape && turned ? [...shape.slice(0, -2), shape.at(-1) ?? -1, shape.at(-2) ?? -1] : shape;
  const batchTurned = node.int("transBatchA") === 1 || node.int("transBatchB") === 1;
  if (batchTurned) return [ofRank(a.element, a.shape?.length)];
  return [
    tensorType(
      a.element,
      productShape(turn(a.shape, node.int("transA") === 1), turn(b?.shape, node.int("transB") === 1)),
    ),
  ];
};

const same =
  "FastGelu Gelu BiasGelu QuickGelu BiasSoftmax BiasSplitGelu GroupNorm SkipGroupNorm Trilu Inverse Rfft Irfft";

/** Operators of `com.microsoft` that converters and optimisers put into published files. */
export const contribRules: ShapeRules = {
  ...quantisedContribRules,
  ...Object.fromEntries(same.split(" ").map((name) => [name, sameAsFirst])),
  BiasAdd: elementwiseRules["Add"] ?? sameAsFirst,
  FusedConv: networkRules["Conv"] ?? sameAsFirst,
  FusedGemm: networkRules["Gemm"] ?? sameAsFirst,
  FusedMatMul: fusedProduct,
  TransposeMatMul: fusedProduct,
  MatMulNBits: packedProduct,
  MatMulBnb4: packedProduct,
  SkipLayerNormalization: skipNormalisation,
  SkipSimplifiedLayerNormalization: skipNormalisation,
  SimplifiedLayerNormalization: layerNormalisation,
  EmbedLayerNormalization: embedding,
  Attention: (node) => {
    const data = node.tensor(0);
    if (!data) return [];
    const sizes = node.ints("qkv_hidden_sizes");
    const packed = node.tensor(1)?.shape?.[1] ?? -1;
    const width = sizes?.[2] ?? (packed < 0 ? -1 : packed / 3);
    return [
      tensorType(data.element, [data.shape?.[0] ?? -1, data.shape?.[1] ?? -1, width]),
      ofRank(data.element, 5),
    ];
  },
  QAttention: (node) => {
    const packed = node.tensor(1)?.shape?.[1] ?? -1;
    const shape = node.tensor(0)?.shape;
    const element = node.tensor(3)?.element ?? Element.FLOAT;
    return [
      tensorType(element, [shape?.[0] ?? -1, shape?.[1] ?? -1, packed < 0 ? -1 : packed / 3]),
      ofRank(element, 5),
    ];
  },
  MultiHeadAttention: attention(4),
  DecoderMaskedMultiHeadAttention: attention(4),
  GroupQueryAttention: (node) => {
    const data = node.tensor(0);
    if (!data) return [];
    const cache = ofRank(data.element, 4);
    // With keys and values packed into the query its width says nothing of the result's.
    const shape = node.given(1) ? data.shape : data.shape && [...data.shape.slice(0, -1), -1];
    return [tensorType(data.element, shape), cache, cache];
  },
  RotaryEmbedding: sameAsFirst,
  GatherBlockQuantized: (node) => {
    const element = node.tensor(2)?.element;
    const [data, indices] = [node.tensor(0)?.shape, node.tensor(1)?.shape];
    if (element === undefined) return [];
    const rank = data && indices ? data.length + indices.length - 1 : undefined;
    return [ofRank(element, rank)];
  },
  Pad: (node) => {
    const data = node.tensor(0);
    return data ? [ofRank(data.element, data.shape?.length)] : [];
  },
  CDist: (node) => {
    const data = node.tensor(0);
    return data ? [tensorType(data.element, [data.shape?.[0] ?? -1, node.tensor(1)?.shape?.[0] ?? -1])] : [];
  },
  Unique: (node) => {
    const data = node.tensor(0);
    const side = ofRank(Element.INT64, 1);
    return data ? [ofRank(data.element, 1), side, side] : [];
  },
  ExpandDims: (node) => {
    const data = node.tensor(0);
    return data ? [ofRank(data.element, data.shape && data.shape.length + 1)] : [];
  },
  DynamicQuantizeLSTM: (node) => {
    const data = node.tensor(0);
    if (!data) return [];
    return [ofRank(data.element, 4), ofRank(data.element, 3), ofRank(data.element, 3)];
  },
  BiasDropout: (node) => {
    const data = node.tensor(0);
    if (!data) return [];
    const shape = broadcast([data.shape, node.tensor(1)?.shape]);
    return [tensorType(data.element, shape), tensorType(Element.BOOL, shape)];
  },
};
