export { withHalfWeights } from "./half-weights.ts";
export {
  graphAnswers,
  meanAgreement,
  quantizeModel,
  type Quantized,
  type QuantizeOptions,
} from "./quantize-model.ts";
export type { Calibration } from "./ranges.ts";
