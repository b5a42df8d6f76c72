import { TensorProto_DataType as Element } from "../onnx/onnx_pb.ts";
import type { OpNode, ShapeRule, ShapeRules } from "./op-node.ts";
import { shapeOfFirst } from "./rules-elementwise.ts";
import { other, tensorType, type ValueType } from "./type.ts";

/** Labels of a classifier are texts or numbers, whichever list of classes the node has. */
function labels(node: OpNode): number {
  const texts = ["classlabels_strings", "classlabels_stringss"].flatMap((name) => node.texts(name) ?? []);
  return texts.length > 0 ? Element.STRING : Element.INT64;
}

function batch(node: OpNode): number {
  const shape = node.tensor(0)?.shape;
  return shape === undefined ? -1 : shape.length === 1 ? 1 : (shape[0] ?? 1);
}

const classifier: ShapeRule = (node) => {
  const classes = Math.max(
    (node.texts("classlabels_strings") ?? []).length,
    (node.ints("classlabels_ints") ?? node.ints("classlabels_int64s") ?? []).length,
  );
  const rows = batch(node);
  return [
    tensorType(labels(node), [rows]),
    tensorType(Element.FLOAT, [rows, classes > 0 && node.operator !== "SVMClassifier" ? classes : -1]),
  ];
};

const regressor: ShapeRule = (node) => {
  const targets = node.int("n_targets") ?? node.int("targets") ?? (node.operator === "SVMRegressor" ? 1 : -1);
  return [tensorType(Element.FLOAT, [batch(node), targets])];
};

function mappedType(node: OpNode): ValueType {
  const shape = node.tensor(0)?.shape;
  const values: readonly (readonly [string, number])[] = [
    ["values_strings", Element.STRING],
    ["values_int64s", Element.INT64],
    ["values_floats", Element.FLOAT],
  ];
  const found = values.find(([name]) => {
    const attribute = node.attribute(name);
    return attribute && attribute.strings.length + attribute.ints.length + attribute.floats.length > 0;
  });
  const stored = node.stored("values_tensor");
  if (stored) return tensorType(stored.dataType, shape);
  if (found) return tensorType(found[1], shape);
  // Version 1 maps between texts and whole numbers by one list of texts.
  return tensorType(node.tensor(0)?.element === Element.STRING ? Element.INT64 : Element.STRING, shape);
}

/** Operators of classical machine learning (`ai.onnx.ml`). */
export const classicRules: ShapeRules = {
  LinearClassifier: classifier,
  SVMClassifier: classifier,
  TreeEnsembleClassifier: classifier,
  LinearRegressor: regressor,
  SVMRegressor: regressor,
  TreeEnsembleRegressor: regressor,
  TreeEnsemble: (node) => [
    tensorType(node.tensor(0)?.element ?? Element.FLOAT, [batch(node), node.int("n_targets") ?? -1]),
  ],
  Scaler: shapeOfFirst(Element.FLOAT),
  Normalizer: shapeOfFirst(Element.FLOAT),
  Imputer: (node) => {
    const data = node.tensor(0);
    return data ? [tensorType(data.element, data.shape)] : [];
  },
  Binarizer: (node) => {
    const data = node.tensor(0);
    return data ? [tensorType(data.element, data.shape)] : [];
  },
  LabelEncoder: (node) => [mappedType(node)],
  CategoryMapper: (node) => [
    tensorType(
      node.tensor(0)?.element === Element.STRING ? Element.INT64 : Element.STRING,
      node.tensor(0)?.shape,
    ),
  ],
  OneHotEncoder: (node) => {
    const shape = node.tensor(0)?.shape;
    const classes = Math.max(
      (node.ints("cats_int64s") ?? []).length,
      (node.texts("cats_strings") ?? []).length,
    );
    return [tensorType(Element.FLOAT, shape && [...shape, classes])];
  },
  FeatureVectorizer: (node) => {
    const width = (node.ints("inputdimensions") ?? []).reduce((total, size) => total + size, 0);
    return [tensorType(Element.FLOAT, [batch(node), width || -1])];
  },
  ArrayFeatureExtractor: (node) => {
    const data = node.tensor(0);
    if (!data) return [];
    // Runtimes take as many columns as there are indices over all of their axes.
    const indices = node.tensor(1)?.shape;
    const count =
      !indices || indices.includes(-1) ? -1 : indices.reduce((product, size) => product * size, 1);
    if (!data.shape) return [tensorType(data.element, undefined)];
    return [
      tensorType(data.element, data.shape.length === 1 ? [1, count] : [...data.shape.slice(0, -1), count]),
    ];
  },
  ZipMap: () => [other("sequence", other("map"))],
  CastMap: () => [other("map")],
  DictVectorizer: () => [],
};
