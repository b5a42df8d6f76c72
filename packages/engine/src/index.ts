/**
 * Runs models and pipelines here: in the browser, in Node.js or in a simulator.
 *
 * @module
 */
export * from "./execute/chain.ts";
export { createEngine, type Engine } from "./execute/engine.ts";
export type { EngineLimits, EngineParts } from "./execute/engine-parts.ts";
export * from "./execute/for-each.ts";
export * from "./execute/inline-lane.ts";
export * from "./execute/lane.ts";
export type { IndexEntry, ModelState } from "./execute/model-index.ts";
export * from "./execute/runtime.ts";
export type { ModelOverride } from "./repository/override.ts";
export * from "./repository/source.ts";
export { type RepositoryWatch, watchModels, type WatchParts } from "./repository/watch.ts";
export { writtenConfig } from "./repository/written-config.ts";
export type { SealKey } from "./sequence/index.ts";
export * from "./transform/index.ts";
