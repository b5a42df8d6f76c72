import { numbersOf, type Tensors, type TensorSpec } from "@longshore/core";
import { elementBytes } from "@longshore/core/internal";

/*
 * What a run takes may hang on values, whatever the bytes: the trips of a loop, the sizes of a shape, the branch of a condition.
 * Such values are whole numbers, or yes and no, in a scalar or in a tensor with an element for each dimension. Which inputs
 * are data and which are counts nobody tells, so each that could be one is held to be one.
 */

/** Tensors with more elements are data: a shape has no more dimensions. */
const mostCounts = 8;
const whole = /^(?:U?INT|BOOL)/;

/** What inputs could have as counts: all of them multiplied, then each. Yes is more than twice as much as no. */
export type Counts = readonly number[];

/** The inputs that may be counts, of a session's. */
export function countInputs(inputs: readonly TensorSpec[]): readonly string[] {
  return inputs.filter(({ datatype }) => whole.test(datatype)).map(({ name }) => name);
}

const none: Counts = [];

/** The counts of one run, of inputs as `countInputs` gives them. */
export function countsOf(feeds: Tensors, inputs: readonly string[]): Counts {
  if (inputs.length === 0) return none;
  const counts = [1];
  for (const name of inputs) {
    const tensor = feeds.get(name);
    let product = 1;
    if (tensor && tensor.bytes.byteLength <= mostCounts * elementBytes(tensor.spec.datatype)) {
      for (const value of numbersOf(tensor)) product *= 1 + 2 * Math.abs(Number(value));
    }
    counts.push(product);
    counts[0] = (counts[0] ?? 1) * product;
  }
  return counts;
}

/** Whether none is beyond `factor` times what was shown. */
export function within(counts: Counts, shown: Counts, factor = 1): boolean {
  return counts.every((count, index) => count <= factor * (shown[index] ?? 0));
}

/** The larger one of each. */
export function largerOf(counts: Counts, others: Counts): Counts {
  return Array.from({ length: Math.max(counts.length, others.length) }, (_, index) =>
    Math.max(counts[index] ?? 0, others[index] ?? 0),
  );
}
