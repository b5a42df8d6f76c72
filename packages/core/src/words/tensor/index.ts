export { type Datatype, datatypes, elementBytes, isDatatype } from "./datatype.ts";
export { fingerprint } from "./fingerprint.ts";
export { borrowed, give, isGiven } from "./give.ts";
export { fromHalf, toHalf } from "./half.ts";
export { type OutputData, type OutputJson, type Outputs, outputsOf, type OutputTensor } from "./outputs.ts";
export { joinElements, splitElements } from "./ragged.ts";
export { releaser, releaseTensors } from "./release.ts";
export {
  copied,
  elementCount,
  inputFits,
  maxElements,
  renamed,
  shapeFits,
  type Tensor,
  tensorOf,
  type Tensors,
  tensorsOf,
  type TensorSpec,
  totalBytes,
} from "./tensor.ts";
export {
  bytesElements,
  bytesTensor,
  checkElements,
  elementOffsets,
  textElements,
  TextWriter,
} from "./texts.ts";
export {
  bytesOf,
  float32Tensor,
  float32View,
  int32View,
  int64View,
  numbersOf,
  numericTensor,
  numericView,
  typedView,
  type TypedViews,
} from "./views.ts";
