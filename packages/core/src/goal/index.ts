export { checkAim, checkLimits, checkNamed, demands } from "./check-limits.ts";
export { type Goal, goalOf, hopeful, isSaving, type Scored, scoreOf, meanWeight } from "./goal.ts";
export { limitsAt, type PlanLimits } from "./limits.ts";
export {
  type Aim,
  aimFrom,
  isObjective,
  isThrifty,
  type Objective,
  type ReadObjective,
  readObjective,
  type SumTerm,
  travellingAim,
  usualAgreementRatio,
} from "./objective.ts";
export { paceScore, type Stages } from "./pace.ts";
