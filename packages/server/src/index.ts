/**
 * Puts any endpoint on the network: the Open Inference Protocol v2 with Longshore's extension, as a handler without
 * sockets (`createHandler`) and on a port (`listen`).
 *
 * @module
 */
export * from "./api/index.ts";
export * from "./cache/index.ts";
export * from "./identify/index.ts";
export * from "./life/index.ts";
export * from "./listen/index.ts";
export * from "./quota/index.ts";
export * from "./telemetry/index.ts";
