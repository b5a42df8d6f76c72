import { LongshoreError, type Reason } from "../../words/base/index.ts";
import type { Infeasible } from "./plan.ts";

/** Filters that enforce a rule, not a lack of capacity. */
const ruled: ReadonlySet<string> = new Set(["zone", "trust", "data-class"]);

/** Whether a filter left no endpoint because of a rule. */
export function isRuled({ filter }: Pick<Infeasible, "filter">): boolean {
  return ruled.has(filter);
}

/** The error that a decision without an endpoint becomes. */
export function noEndpoint({ filter, because }: Pick<Infeasible, "filter" | "because">): LongshoreError {
  const reason: Reason =
    filter === "rights" ? "not-permitted" : ruled.has(filter) ? "policy-denied" : "no-endpoint";
  return new LongshoreError(reason, "plan", because);
}
