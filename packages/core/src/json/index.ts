export { ArrayText } from "./array-text.ts";
export { exactJson, type Parameters } from "./exact-json.ts";
export { maxDepth, messageWork, parseFields } from "./message-text.ts";
export { type DataWork, dataPieces, dataWork, named, newTurn } from "./tensor-data.ts";
