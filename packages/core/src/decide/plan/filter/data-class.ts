import type { DataClass, EndpointId, TrustLevel, ZoneId } from "../../../words/base/index.ts";
import type { Policy } from "../../policy/index.ts";
import type { Reveals } from "../../../words/model/index.ts";
import type { PlanRequest } from "../request.ts";

/** An endpoint as policies see it. */
export interface PolicyEndpoint {
  readonly id: EndpointId;
  readonly zones: readonly ZoneId[];
  readonly trust: TrustLevel;
}

/**
 * The policy's rule that keeps data of these classes from an endpoint, or undefined when every class may go to every zone of
 * the way. Features count like the input that they were computed from, because they can be inverted: the class of the
 * input clings to them (undefined in `classes`) until a step that the operator approved declassifies them.
 */
export function dataClassRule(
  policy: Policy,
  request: PlanRequest,
  endpoint: PolicyEndpoint,
  classes: readonly (DataClass | undefined)[],
  reveals: Reveals,
): string | undefined {
  for (const word of classes) {
    const rule = ruleFor(policy, request, endpoint, word ?? request.rules.dataClass, reveals);
    if (rule !== undefined) return rule;
    if (word !== undefined || request.modelClass === undefined) continue;
    const second = ruleFor(policy, request, endpoint, request.modelClass, reveals);
    if (second !== undefined) return second;
  }
  return undefined;
}

function ruleFor(
  policy: Policy,
  { tenant }: PlanRequest,
  { id, zones, trust }: PolicyEndpoint,
  dataClass: DataClass,
  reveals: Reveals,
): string | undefined {
  for (const zone of zones) {
    const decision = policy.decide({ dataClass, reveals, endpoint: id, zone, trust, tenant });
    if (!decision.allow) return decision.rule;
  }
  return undefined;
}
