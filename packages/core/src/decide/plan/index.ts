export { brokenRule } from "./filter/local-endpoint.ts";
export { zoneRemoves } from "./filter/zone.ts";
export { isLegKeyOf, legKey } from "./leg-key.ts";
export { latestOf, waitsFor } from "./legs.ts";
export { mayExplore } from "./exploration.ts";
export { makePlan } from "./make-plan.ts";
export { isRuled, noEndpoint } from "./no-endpoint.ts";
export { numbered } from "./numbered.ts";
export { envelopeBytes } from "./options.ts";
export { planScratch } from "./plan-scratch.ts";
export {
  type DirectoryAge,
  type FilterName,
  type Infeasible,
  isInfeasible,
  type Leg,
  type LegId,
  type LostCandidate,
  type Plan,
  type Predicted,
  type Travels,
  type Trigger,
} from "./plan.ts";
export type { ConnectionWaits, FirstWaits, Part, PlanRequest, Traffic } from "./request.ts";
export type { ModelPoll, DeviceView, ModelView, View } from "./view.ts";
