export type { AliasEntry } from "./alias-records.ts";
export { createDirectory, type DirectoryParts, type KeptDirectory } from "./directory.ts";
export {
  type DirectoryEntry,
  type DirectoryRecord,
  entryJson,
  recordFrom,
  signedEntryFrom,
  type Statement,
} from "./entry.ts";
export { askJson } from "./exchange.ts";
export { type JoinReply, type JoinRequest, joinRequestFrom, leaveRequestFrom } from "./join-json.ts";
export { joinDirectory, type Registration } from "./join.ts";
export { memorySource, type MemorySource } from "./memory-source.ts";
export { createRegistry, type DirectoryApi, type Registry } from "./registry.ts";
export { remoteSource } from "./remote-source.ts";
export type { Directory, DirectorySnapshot } from "./seam.ts";
export type { DirectoryMemory, RecordSink, RecordSource } from "./source.ts";
