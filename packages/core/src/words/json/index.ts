export { ArrayText } from "./array-text.ts";
export { exactJson, type Parameters } from "./exact-json.ts";
export { maxDepth, messageWork, parseFields } from "./message-text.ts";
export { dataPieces, dataWork, type DataWork, named, newTurn } from "./tensor-data.ts";
