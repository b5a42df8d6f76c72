import type { FilterName } from "../plan.ts";

/**
 * The order in which filters look at a candidate. A candidate is counted under the first that removes it, and a
 * decision without an endpoint names the one that the last survivors fell to, which is the one to change.
 */
export const filterOrder: readonly FilterName[] = [
  "unavailable",
  "only",
  "loop",
  "tier",
  "state",
  "codec",
  "zone",
  "trust",
  "rights",
  "data-class",
  "memory",
  "agreement",
  "accuracy",
  "cost",
  "energy",
  "deadline",
];

/** Position of a filter in that order. */
export function filterIndex(name: FilterName): number {
  return filterOrder.indexOf(name);
}
