import type { Finalist } from "./finalists.ts";
import type { LocalCandidate } from "./back-up.ts";
import type { Options } from "./options.ts";
import type { PlanInputs } from "./plan-inputs.ts";
import type { Findings } from "./scan.ts";

/** The inputs of an explanation. */
export interface Explained {
  readonly inputs: PlanInputs;
  readonly options: Options;
  readonly findings: Findings;
  readonly locals: readonly LocalCandidate[];
  readonly finalists: readonly Finalist[];
}
