export { parseScaleObjective } from "./objective.ts";
export {
  createScaler,
  type DemandSample,
  type ScaleDecision,
  type ScaleDecisions,
  unknownDecision,
} from "./scaler.ts";
