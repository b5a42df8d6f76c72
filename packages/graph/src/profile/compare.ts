import { bytesElements, fromHalf, numericView, type Tensor, type Tensors } from "@longshore/core";

/** How far two answers may lie apart before a split counts as wrong: |a - b| against `absolute + relative |b|`. */
export interface Tolerance {
  readonly absolute: number;
  readonly relative: number;
}

/** For 32-bit fractions. Runtimes fuse across what a cut separates, so the last bits differ. */
export const singleTolerance: Tolerance = { absolute: 1e-5, relative: 1e-4 };
/** For 16-bit fractions, whose steps are a thousandth. */
export const halfTolerance: Tolerance = { absolute: 1e-3, relative: 1e-2 };

/**
 * The largest |a - b| / (absolute + relative |b|) over all tensors of `expected`: at most 1 means equal within the
 * tolerance. Missing tensors and different shapes, datatypes or texts give Infinity; NaN equals NaN.
 */
export function worstDifference(actual: Tensors, expected: Tensors): number {
  let worst = 0;
  for (const [name, tensor] of expected) {
    const other = actual.get(name);
    worst = Math.max(worst, other ? difference(other, tensor) : Infinity);
  }
  return worst;
}

function difference(actual: Tensor, expected: Tensor): number {
  const same =
    actual.spec.datatype === expected.spec.datatype &&
    actual.spec.shape.length === expected.spec.shape.length &&
    actual.spec.shape.every((size, axis) => size === expected.spec.shape[axis]);
  if (!same) return Infinity;
  if (expected.spec.datatype === "BYTES") return sameBytes(actual, expected) ? 0 : Infinity;
  const [a, b] = [numbers(actual), numbers(expected)];
  const tolerance = expected.spec.datatype === "FP16" ? halfTolerance : singleTolerance;
  let worst = 0;
  for (let index = 0; index < b.length; index++) {
    const [x = NaN, y = NaN] = [a[index], b[index]];
    if (x === y || (Number.isNaN(x) && Number.isNaN(y))) continue;
    const ratio = Math.abs(x - y) / (tolerance.absolute + tolerance.relative * Math.abs(y));
    worst = Math.max(worst, Number.isNaN(ratio) ? Infinity : ratio);
  }
  return worst;
}

function sameBytes(a: Tensor, b: Tensor): boolean {
  const [first, second] = [bytesElements(a), bytesElements(b)];
  return first.every(
    (element, index) =>
      element.byteLength === second[index]?.byteLength &&
      element.every((byte, at) => byte === second[index]?.[at]),
  );
}

/** Elements of a numeric tensor as numbers, whatever its type. */
export function numbers(tensor: Tensor): ArrayLike<number> {
  const view = numericView(tensor);
  if (view instanceof BigInt64Array || view instanceof BigUint64Array) return Array.from(view, Number);
  return tensor.spec.datatype === "FP16" ? Float32Array.from(view, fromHalf) : view;
}
