import { bytesElements, numbersOf, type Tensor, type Tensors } from "@longshore/core";
import type { SplitGraph } from "../extract/index.ts";
import { elementTypeOf } from "../onnx/index.ts";

/**
 * How far two answers may lie apart before a split counts as wrong: |a - b| against
 * `absolute + relative |b| + ofLargest * max |b|`, the maximum over the tensor.
 */
export interface OutputTolerance {
  readonly absolute: number;
  readonly relative: number;
  readonly ofLargest: number;
}

/** For 32-bit fractions. Runtimes fuse across what a cut separates, so the last bits differ. */
export const singleTolerance: OutputTolerance = { absolute: 1e-5, relative: 1e-4, ofLargest: 0 };
/** For models that calculate in 16-bit fractions, whose steps are a thousandth: a few steps. */
export const halfTolerance: OutputTolerance = { absolute: 5e-3, relative: 1e-2, ofLargest: 0 };
/**
 * For models that round to 8 bits while they run: the last bit of a fraction may move a value to the next of 255 steps, and
 * what follows carries that on. Five steps of the range.
 */
export const roundingTolerance: OutputTolerance = { absolute: 1e-5, relative: 1e-4, ofLargest: 5 / 255 };

/**
 * The largest |a - b| in units of what is allowed, over all tensors of `expected`: at most 1 means equal within the
 * tolerance. Missing tensors and different shapes, datatypes or texts give Infinity; NaN equals NaN.
 */
export function worstDifference(
  actual: Tensors,
  expected: Tensors,
  tolerance: OutputTolerance = singleTolerance,
): number {
  let worst = 0;
  for (const [name, tensor] of expected) {
    const other = actual.get(name);
    worst = Math.max(worst, other ? difference(other, tensor, tolerance) : Infinity);
  }
  return worst;
}

/**
 * How exact a model's answers can be. Cutting a model changes where runtimes fuse operators, and so where they round; models
 * that round coarsely show it.
 */
export function toleranceOf(split: SplitGraph): OutputTolerance {
  if (split.nodes.some((node) => /^DynamicQuantize|^QuantizeLinear$/.test(node.opType)))
    return roundingTolerance;
  const half = elementTypeOf("FP16");
  for (const type of split.types.values()) {
    if (type.kind === "tensor" && (type.element === half || type.element === elementTypeOf("BF16"))) {
      return halfTolerance;
    }
  }
  return singleTolerance;
}

/** A tolerance in words: `1e-5 + 1e-4 |b|`. */
export function toleranceText({ absolute, relative, ofLargest }: OutputTolerance): string {
  const plain = `${absolute.toExponential()} + ${relative.toExponential()} |b|`;
  return ofLargest === 0 ? plain : `${plain} + ${(100 * ofLargest).toFixed(0)} % of the largest`;
}

function difference(actual: Tensor, expected: Tensor, tolerance: OutputTolerance): number {
  const same =
    actual.spec.datatype === expected.spec.datatype &&
    actual.spec.shape.length === expected.spec.shape.length &&
    actual.spec.shape.every((size, axis) => size === expected.spec.shape[axis]);
  if (!same) return Infinity;
  if (expected.spec.datatype === "BYTES") return sameBytes(actual, expected) ? 0 : Infinity;
  const [a, b] = [numbers(actual), numbers(expected)];
  let largest = 0;
  for (let index = 0; tolerance.ofLargest > 0 && index < b.length; index++) {
    largest = Math.max(largest, Math.abs(b[index] ?? 0) || 0);
  }
  const floor = tolerance.absolute + tolerance.ofLargest * largest;
  let worst = 0;
  for (let index = 0; index < b.length; index++) {
    const [x = NaN, y = NaN] = [a[index], b[index]];
    if (x === y || (Number.isNaN(x) && Number.isNaN(y))) continue;
    const ratio = Math.abs(x - y) / (floor + tolerance.relative * Math.abs(y));
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

/** Elements of a numeric tensor as numbers, for any datatype. */
export function numbers(tensor: Tensor): ArrayLike<number> {
  return Float64Array.from(numbersOf(tensor), Number);
}
