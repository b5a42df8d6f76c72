import type { EndpointId, Json } from "../../words/base/index.ts";
import type { EndpointInfo } from "../../wire/endpoint/index.ts";
import type { Signed } from "../signed/index.ts";
import type { DirectoryEntry } from "./entry.ts";

/** What a directory knows. */
export interface DirectorySnapshot {
  /** An endpoint that did not change is the same object in every snapshot. */
  readonly entries: readonly EndpointInfo[];
  /** Time since it was last known to be so; Infinity before anything is known. */
  readonly ageMs: number;
  /** Why it is not newer, for people. */
  readonly problem?: string;
  /** Entries that are not believed as they were last read, 1 or more, and why the latest of them is not, for people. */
  readonly refused?: { readonly count: number; readonly because: string };
}

/** Which endpoints there are. */
export interface Directory {
  snapshot(): DirectorySnapshot;
  /** Names that the operator leads to versions of models, as signed; who follows them reads them. Default: none. */
  aliases?(): readonly Json[];
  /** The records of these, as they came with their signatures, for those who read the directory here. Default: none. */
  aliasRecords?(): readonly Json[];
  /**
   * The operator's word about an endpoint, in its time, also where it is not listed since nobody says where it is. Default: nothing is known
   * of what was signed.
   */
  wordOn?(id: EndpointId): Signed<DirectoryEntry> | undefined;
  /** Calls `changed` after the entries or the names changed. */
  watch(changed: () => void): Disposable;
}
