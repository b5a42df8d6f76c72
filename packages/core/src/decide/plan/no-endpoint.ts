import { LongshoreError, type Reason } from "../../words/base/index.ts";
import type { Infeasible } from "./plan.ts";

/** Filters that enforce a rule, not a lack of capacity. */
const ruled: ReadonlySet<string> = new Set(["zone", "trust", "data-class"]);

/** The error that a decision without an endpoint becomes. */
export function noEndpoint({ filter, because }: Pick<Infeasible, "filter" | "because">): LongshoreError {
  const reason: Reason =
    filter === "rights" ? "not-permitted" : ruled.has(filter) ? "policy-denied" : "no-endpoint";
  return new LongshoreError(reason, "plan", because);
}
