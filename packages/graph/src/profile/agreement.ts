import { bytesElements, type Tensor, type Tensors } from "@longshore/core";
import { numbers } from "./compare.ts";

/** Tells how far an answer agrees with the expected one, 0..1. */
export type Agreement = (actual: Tensors, expected: Tensors) => number;

/**
 * The agreement that holds for any model: the mean over its outputs. Texts, whole numbers and truths count the share of equal
 * elements; fractions count 1 - |a - b| / |b| in Euclidean norms, at least 0. That is careful: a classifier whose best class
 * stays the same may well agree less than 1 here. A caller that knows the meaning of an answer passes a better one.
 */
export const tensorAgreement: Agreement = (actual, expected) => {
  let total = 0;
  for (const [name, tensor] of expected) {
    const other = actual.get(name);
    total += other ? agreementOf(other, tensor) : 0;
  }
  return expected.size === 0 ? 1 : total / expected.size;
};

/** Agreement of classifiers: the share of rows (all axes but the last) whose largest element has the same index. */
export const bestClassAgreement: Agreement = (actual, expected) => {
  let [same, rows] = [0, 0];
  for (const [name, tensor] of expected) {
    const [a, b] = [bestClasses(actual.get(name)), bestClasses(tensor)];
    rows += b.length;
    same += b.filter((best, row) => best === a[row]).length;
  }
  return rows === 0 ? 1 : same / rows;
};

function agreementOf(actual: Tensor, expected: Tensor): number {
  const { datatype } = expected.spec;
  if (actual.spec.datatype !== datatype || actual.spec.shape.join() !== expected.spec.shape.join()) return 0;
  if (datatype === "BYTES") {
    const [a, b] = [bytesElements(actual), bytesElements(expected)];
    const same = b.filter((element, index) => element.join() === a[index]?.join());
    return b.length === 0 ? 1 : same.length / b.length;
  }
  const [a, b] = [numbers(actual), numbers(expected)];
  if (b.length === 0) return 1;
  if (!["FP16", "FP32", "FP64"].includes(datatype)) {
    let same = 0;
    for (let index = 0; index < b.length; index++) if (a[index] === b[index]) same++;
    return same / b.length;
  }
  let [apart, size] = [0, 0];
  for (let index = 0; index < b.length; index++) {
    const [x = NaN, y = NaN] = [a[index], b[index]];
    apart += (x - y) ** 2;
    size += y ** 2;
  }
  if (apart === 0) return 1;
  const agreed = 1 - Math.sqrt(apart / size);
  return agreed > 0 ? agreed : 0;
}

function bestClasses(tensor: Tensor | undefined): readonly number[] {
  if (!tensor || tensor.spec.datatype === "BYTES") return [];
  const values = numbers(tensor);
  const classes = tensor.spec.shape.at(-1) ?? 1;
  if (classes === 0) return [];
  return Array.from({ length: values.length / classes }, (_unused, row) => {
    const from = row * classes;
    let best = 0;
    for (let one = 1; one < classes; one++) {
      if ((values[from + one] ?? -Infinity) > (values[from + best] ?? -Infinity)) best = one;
    }
    return best;
  });
}
