export { createGate } from "./gate.ts";
export { createHandler } from "./handler.ts";
export { type Accepts, defaultMaxKeptBytes, type HandlerParts } from "./parts.ts";
export type { PackageShelf, ShelvedPackage } from "./package-shelf.ts";
export type { ModelOverride, ServedRepository } from "./served-repository.ts";
export type { SharedMemory, SharedObject } from "./shared-regions.ts";
