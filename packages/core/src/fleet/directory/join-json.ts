import type { EndpointId, Json } from "../../words/base/index.ts";
import type { Tier } from "../../wire/endpoint/index.ts";
import { read, type Reader } from "../../wire/protocol/index.ts";
import type { Signed } from "../signed/index.ts";
import {
  type DirectoryEntry,
  type DirectoryRecord,
  endpointIdFrom,
  signedEntryFrom,
  type Statement,
  statementFrom,
} from "./entry.ts";

/** The last reply to a member, which the member brings back: so a directory server that restarted learns which members are missing. */
export interface EarlierReply {
  /** The directory server that gave it: another one after a restart. */
  readonly instance: string;
  /** The number of its members at that time, this one included. */
  readonly members: number;
}

/** Request of an endpoint to join a directory, or to renew its lease. */
export interface JoinRequest {
  readonly schemaVersion: 1;
  readonly id: EndpointId;
  readonly statement: Statement;
  /** The operator's entry, for directories that do not have it. */
  readonly signed?: Signed<DirectoryEntry>;
  /** Used if the operator states none. */
  readonly tier?: Tier;
  /** Undefined before the first reply. */
  readonly earlier?: EarlierReply;
}

/** The reply to a join request. */
export interface JoinReply {
  readonly schemaVersion: 1;
  /** A member without renewal for this long has left, in milliseconds. */
  readonly leaseMs: number;
  /** Digests of the manifests of the packages that the operator assigns to the endpoint. */
  readonly packages: readonly string[];
  /** For the next renewal. Undefined: this directory remembers its members itself. */
  readonly earlier?: EarlierReply;
}

/** The endpoints of a directory, or the changes to them. */
export interface DirectoryPage {
  readonly schemaVersion: 1;
  /** Pass this to request the changes after this page. */
  readonly at: string;
  /** True if these are all records; otherwise they are the added and changed ones. */
  readonly full: boolean;
  /** Members of a registry that has just started may be missing. */
  readonly settling?: boolean;
  readonly records: readonly (DirectoryRecord | Json)[];
  /** IDs of removed endpoints and names (`alias NAME`). */
  readonly gone: readonly string[];
}

const { fields, readFlag, list, optional, readText, readWhole, readWord } = read;

const earlierFrom: Reader<EarlierReply> = fields({
  instance: readText(64),
  members: readWhole(0, 1_000_000),
});

export const joinRequestFrom: Reader<JoinRequest> = fields({
  schemaVersion: readWord(1),
  id: endpointIdFrom,
  statement: statementFrom,
  signed: optional(signedEntryFrom),
  tier: optional(readWord("device", "edge", "cloud")),
  earlier: optional(earlierFrom),
});

export const leaveRequestFrom: Reader<{ readonly id: EndpointId }> = fields({ id: endpointIdFrom });

export const joinReplyFrom: Reader<JoinReply> = fields({
  schemaVersion: readWord(1),
  leaseMs: readWhole(100, 86_400_000),
  packages: list(readText(80), 256),
  earlier: optional(earlierFrom),
});

/** Parses a page without its records. */
export const pageFrom: Reader<Omit<DirectoryPage, "records"> & { readonly records: readonly unknown[] }> =
  fields({
    schemaVersion: readWord(1),
    at: readText(128),
    full: readFlag,
    settling: optional(readFlag),
    records: list((value: unknown) => value, 100_000),
    gone: list(readText(256), 100_000),
  });
