export { parseScaleObjective } from "./objective.ts";
export { createScaler, type DemandSample, type ScaleDecision, type Scaler } from "./scaler.ts";
