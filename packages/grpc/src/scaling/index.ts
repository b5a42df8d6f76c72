export { externalScaler, type ScaleNumber, type ScaleNumbers, type ScaleTarget } from "./external-scaler.ts";
