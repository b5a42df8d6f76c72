import { LongshoreError, type Reason } from "../base/index.ts";
import type { Infeasible } from "./plan.ts";

/** Filters whose verdict is a rule of somebody, not a want of places. */
const ruled: ReadonlySet<string> = new Set(["zone", "trust", "data-class"]);

/** The error that a decision without a place becomes. */
export function noPlace({ filter, because }: Pick<Infeasible, "filter" | "because">): LongshoreError {
  const reason: Reason =
    filter === "rights" ? "not-permitted" : ruled.has(filter) ? "policy-denied" : "no-place";
  return new LongshoreError(reason, "plan", because);
}
