export { bodies, usedNames } from "./captured.ts";
export { constantNodes, storedNames } from "./constants.ts";
export { hasRule, inferTypes, type Types } from "./infer.ts";
export {
  knownBytes,
  knownCount,
  type OtherType,
  tensorType,
  type TensorType,
  type ValueType,
} from "./type.ts";
export { bytes, nodeWork } from "./work.ts";
