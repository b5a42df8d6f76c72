export { endOfTimeMs, parseDirectoryFile } from "./directory-file.ts";
export { fileMemory } from "./file-memory.ts";
export { fileSource, type FileSourceOptions } from "./file-source.ts";
export * from "./operator-key.ts";
