import type { FilterName } from "../plan.ts";

/**
 * The order of filters. A candidate counts under the first filter that removes it. A decision without an endpoint names the filter that
 * removed the last candidates, which is the one to change.
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
