/**
 * The browser's parts, under the names that `@longshore/nodejs` uses, and a client that only runs models elsewhere.
 *
 * @module
 */
export * from "./client/index.ts";
export * from "./compress/index.ts";
export * from "./device/index.ts";
export * from "./http/index.ts";
