export { createGate } from "./gate.ts";
export { createHandler } from "./handler.ts";
export { type Accepts, defaultMaxKeptBytes, type HandlerParts } from "./parts.ts";
export type { PackageShelf, ShelvedPackage } from "./package.ts";
export type { ModelOverride, ServedRepository } from "./repository.ts";
export type { SharedMemory, SharedObject } from "./shared-memory.ts";
