/**
 * Runs models and pipelines here: in the browser, in Node.js or in a simulator.
 *
 * @module
 */
export { createEngine, type Engine } from "./execute/engine.ts";
export type { EngineLimits, EngineParts, KeptAnswers } from "./execute/engine-parts.ts";
export { usedModels, withVariant, type WrittenVariant } from "./configuration/index.ts";
export * from "./lane/index.ts";
export type { IndexEntry, ModelState } from "./execute/model-index.ts";
export * from "./runtime/index.ts";
export type { FileOverride } from "./repository/override.ts";
export { acceleratorProfileFile } from "./repository/files.ts";
export * from "./repository/source.ts";
export { type RepositoryWatch, watchModels, type WatchParts } from "./repository/watch.ts";
export { elementsTogether } from "./run/index.ts";
export { type BatchVerdict, type BatchVerdicts, parseVerdict } from "./schedule/index.ts";
export type { SealKey } from "./sequence/index.ts";
export * from "./transform/index.ts";
