export { endOfTimeMs, parseDirectoryFile } from "./directory-file.ts";
export { type DnsResolver, dnsSource, type DnsSourceOptions, systemResolver } from "./dns-source.ts";
export { fileMemory } from "./file-memory.ts";
export { fileSource, type FileSourceOptions } from "./file-source.ts";
export * from "./operator-key.ts";
