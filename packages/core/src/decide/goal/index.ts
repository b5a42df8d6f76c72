export { type CarbonIntensity, carbonIntensity, type CarbonZones, microgramsOf } from "./carbon.ts";
export { checkAim, checkLimits, checkNamed, limitChecks } from "./check-limits.ts";
export { type Goal, goalOf, hopeful, isSaving, meanWeight, type Scored, scoreOf } from "./goal.ts";
export { isOnly, limitsAt, type Only, type PlanLimits } from "./limits.ts";
export {
  aimFrom,
  isObjective,
  isThrifty,
  type Objective,
  readObjective,
  type SumTerm,
  travellingAim,
  usualAgreementRatio,
} from "./objective.ts";
export { paceScore, type Stages } from "./pace.ts";
