export { zoneRemoves } from "./filter/zone.ts";
export { envelopeBytes } from "./options.ts";
export { makePlan } from "./make-plan.ts";
export * from "./plan.ts";
export { type PlanScratch, planScratch } from "./plan-scratch.ts";
export * from "./policy.ts";
export * from "./request.ts";
export type { Stages } from "./score/pace.ts";
export * from "./view.ts";
