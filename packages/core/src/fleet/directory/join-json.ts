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

/** What an endpoint sends to join, and again to stay. */
export interface JoinRequest {
  readonly schemaVersion: 1;
  readonly id: EndpointId;
  readonly statement: Statement;
  /** The operator's entry, for directories that do not have it. */
  readonly signed?: Signed<DirectoryEntry>;
  /** Where the operator says nothing of it. */
  readonly tier?: Tier;
}

/** What an endpoint is answered. */
export interface JoinReply {
  readonly schemaVersion: 1;
  /** Silence for this long is leaving, in milliseconds. */
  readonly leaseMs: number;
  /** Digests of the manifests of what the operator wants it to serve. */
  readonly packages: readonly string[];
}

/** The endpoints of a directory, or what changed of them. */
export interface DirectoryPage {
  readonly schemaVersion: 1;
  /** To ask for what changes after this. */
  readonly at: string;
  /** These are all; else those that came or changed. */
  readonly full: boolean;
  readonly records: readonly (DirectoryRecord | Json)[];
  /** Ids of endpoints, and of names (`alias NAME`). */
  readonly gone: readonly string[];
}

const { fields, flag, list, optional, text, whole, word } = read;

export const joinRequestFrom: Reader<JoinRequest> = fields({
  schemaVersion: word(1),
  id: endpointIdFrom,
  statement: statementFrom,
  signed: optional(signedEntryFrom),
  tier: optional(word("device", "edge", "cloud")),
});

export const leaveRequestFrom: Reader<{ readonly id: EndpointId }> = fields({ id: endpointIdFrom });

export const joinReplyFrom: Reader<JoinReply> = fields({
  schemaVersion: word(1),
  leaseMs: whole(100, 86_400_000),
  packages: list(text(80), 256),
});

/** A page whose records are not looked at yet. */
export const pageFrom: Reader<Omit<DirectoryPage, "records"> & { readonly records: readonly unknown[] }> =
  fields({
    schemaVersion: word(1),
    at: text(128),
    full: flag,
    records: list((value: unknown) => value, 100_000),
    gone: list(text(256), 100_000),
  });
