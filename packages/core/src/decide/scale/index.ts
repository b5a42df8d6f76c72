export { parseScaleObjective } from "./objective.ts";
export {
  createScaler,
  type DemandSample,
  type ScaleDecision,
  type Scaler,
  type ScalerParts,
} from "./scaler.ts";
