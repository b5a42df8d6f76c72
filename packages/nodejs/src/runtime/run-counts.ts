import { numbersOf, type Tensors, type TensorSpec } from "@longshore/core";
import { elementBytes } from "@longshore/core/internal";

/*
 * The time of a run may depend on values, for the same bytes: the trips of a loop, the sizes of a shape, the branch of a
 * condition. Such values are integers or booleans, in a scalar or in a tensor with an element for each dimension. The model
 * does not tell data from counts, so each input that could be a count is treated as one.
 */

/** Tensors with more elements are data: a shape has no more dimensions. */
const mostCounts = 8;
const whole = /^(?:U?INT|BOOL)/;

/** Possible counts of the inputs: the product of all, then each. True counts more than twice as much as false. */
export type Counts = readonly number[];

/** The inputs of a session that may be counts. */
export function countInputs(inputs: readonly TensorSpec[]): readonly string[] {
  return inputs.filter(({ datatype }) => whole.test(datatype)).map(({ name }) => name);
}

const none: Counts = [];

/** The counts of one run; `inputs` come from `countInputs`. */
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

/** Whether none exceeds `factor` times the shown value. */
export function within(counts: Counts, shown: Counts, factor = 1): boolean {
  return counts.every((count, index) => count <= factor * (shown[index] ?? 0));
}

/** The maximum of each. */
export function largerOf(counts: Counts, others: Counts): Counts {
  return Array.from({ length: Math.max(counts.length, others.length) }, (_, index) =>
    Math.max(counts[index] ?? 0, others[index] ?? 0),
  );
}
