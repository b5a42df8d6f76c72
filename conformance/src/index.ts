/**
 * Other people's servers, clients and load generators, installed beside ours into a cache, to be measured and talked to.
 *
 * @module
 */
export * from "./install/index.ts";
export * from "./servers/index.ts";
