import type { OpNode } from "./op-node.ts";

/** Whole-number parameters that moved from attributes to inputs over the versions of an operator. */
export function parameterInts(
  node: OpNode,
  attribute: string,
  input: number,
): readonly (number | undefined)[] | undefined {
  return node.ints(attribute) ?? node.tensor(input)?.values;
}

/** Counts a negative axis from the end. */
export function wrapAxis(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** The values when every one of them is known. */
export function known(values: readonly (number | undefined)[] | undefined): readonly number[] | undefined {
  return values?.every((value): value is number => value !== undefined) ? values : undefined;
}
