import type { EndpointId, Json } from "../../words/base/index.ts";
import type { EndpointInfo } from "../../wire/endpoint/index.ts";
import type { Signed } from "../signed/index.ts";
import type { DirectoryEntry } from "./entry.ts";

/** The current state of a directory. */
export interface DirectorySnapshot {
  /** An unchanged endpoint is the same object in every snapshot. */
  readonly entries: readonly EndpointInfo[];
  /** Time since the entries were last confirmed; Infinity before the first read. */
  readonly ageMs: number;
  /**
   * Endpoints may be missing that were there before: the source was not read yet, or its registry started a moment ago and its members
   * have time to join again.
   */
  readonly settling?: true;
  /**
   * With `settling`: every endpoint that was there before is listed, from memory. Others may still be gone, so an absent model or server
   * says nothing; but nothing that was listed is missing.
   */
  readonly remembered?: true;
  /** Why the entries are not newer, for display. */
  readonly problem?: string;
  /** Number of entries refused at their latest reading, 1 or more, and the reason for the latest of them, for display. */
  readonly refused?: { readonly count: number; readonly because: string };
}

/** A list of the available endpoints. */
export interface Directory {
  snapshot(): DirectorySnapshot;
  /** The operator's aliases for versions of models, as signed JSON. The followers parse them. Default: none. */
  aliases?(): readonly Json[];
  /** The records of these aliases with their signatures, for readers of this directory. Default: none. */
  aliasRecords?(): readonly Json[];
  /**
   * The operator's current entry of an endpoint, even if the endpoint is not listed because its address is unknown. Default: no signed
   * entries are known.
   */
  wordOn?(id: EndpointId): Signed<DirectoryEntry> | undefined;
  /** Calls `changed` after the entries or the names changed, and when the directory has settled. */
  watch(changed: () => void): Disposable;
}
