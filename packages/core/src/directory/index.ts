export type { AliasEntry } from "./alias-records.ts";
export * from "./directory.ts";
export {
  type DirectoryEntry,
  type DirectoryRecord,
  entryFrom,
  entryJson,
  recordFrom,
  signedEntryFrom,
  type Statement,
  statementFrom,
} from "./entry.ts";
export { askJson } from "./exchange.ts";
export * from "./memory-source.ts";
export type { Directory, DirectorySnapshot } from "./seam.ts";
export * from "./source.ts";
export { type Membership, type JoinParts, joinDirectory } from "./join.ts";
export {
  type DirectoryPage,
  type JoinReply,
  type JoinRequest,
  joinRequestFrom,
  leaveRequestFrom,
} from "./join-json.ts";
export { type DirectoryDesk, createRegistry, type Registry, type RegistryParts } from "./registry.ts";
export { remoteSource, type RemoteSourceParts } from "./remote-source.ts";
