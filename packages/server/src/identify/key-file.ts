import { allSteps } from "@longshore/core/internal";
import { base64url } from "jose";
import * as v from "valibot";
import type { Right } from "./identity.ts";
import { jsonEntries } from "./json-entries.ts";
import { badIdentity, checked, rightList, strictKeys, tenantName } from "./schema.ts";

/** The record of a key: everything but the key. */
export interface KeyRecord {
  readonly id: string;
  /** HMAC-SHA-256 of the key's text under the pepper. */
  readonly hash: Uint8Array;
  readonly tenant: string;
  readonly rights: readonly Right[];
  /** For people: the key's holder. */
  readonly note?: string;
  /** Milliseconds since the Unix epoch. */
  readonly createdMs: number;
  /** From then on it is not valid; undefined for never. */
  readonly expiresMs?: number;
  readonly revokedMs?: number;
}

/** The most keys of a file, so that a wrong file is not read whole into memory. */
const maxKeys = 100_000;

const instant = v.pipe(v.string(), v.isoTimestamp("must be a time such as 2026-12-31T00:00:00.000Z"));

const entrySchema = strictKeys({
  id: v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/, "must be 16 hexadecimal digits")),
  hash: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{43}$/, "must be a base64url HMAC-SHA-256")),
  tenant: tenantName,
  rights: rightList,
  note: v.optional(v.pipe(v.string(), v.maxLength(200))),
  created: instant,
  expires: v.optional(instant),
  revoked: v.optional(instant),
});

/** The file around its entries. */
const schema = strictKeys({
  schemaVersion: v.literal(1),
  keys: v.pipe(v.array(v.unknown()), v.length(0, "must be one list")),
});

const what = "the file of keys";

function recordOf(entry: unknown, index: number): KeyRecord {
  const checkedEntry = checked(entrySchema, entry, what, `keys.${index}`);
  const { id, hash, tenant, rights, note, created, expires, revoked } = checkedEntry;
  return {
    id,
    hash: base64url.decode(hash),
    tenant,
    rights,
    createdMs: Date.parse(created),
    ...(note === undefined ? {} : { note }),
    ...(expires === undefined ? {} : { expiresMs: Date.parse(expires) }),
    ...(revoked === undefined ? {} : { revokedMs: Date.parse(revoked) }),
  };
}

/**
 * The work of reading a file of keys, by their ids, which yields after each three milliseconds or so, and not for a few keys. Throws `invalid-configuration`, which
 * names the entry and never shows a hash.
 */
export function* keyFileWork(text: string): Generator<void, ReadonlyMap<string, KeyRecord>> {
  const records = new Map<string, KeyRecord>();
  const pieces = jsonEntries(text, "keys");
  for (;;) {
    let piece: IteratorResult<readonly unknown[], unknown>;
    try {
      piece = pieces.next();
    } catch (thrown) {
      throw badIdentity(`${what} is not JSON`, thrown);
    }
    if (piece.done === true) {
      checked(schema, piece.value, what);
      return records;
    }
    if (records.size > 0) yield;
    for (const entry of piece.value) {
      if (records.size === maxKeys) throw badIdentity(`${what} has more than ${maxKeys} keys`);
      const record = recordOf(entry, records.size);
      if (records.has(record.id)) throw badIdentity(`${what} has two entries for ${record.id}`);
      records.set(record.id, record);
    }
  }
}

/** Reads a file of keys. Throws as `keyFileWork`. */
export function parseKeyFile(text: string): readonly KeyRecord[] {
  return [...allSteps(keyFileWork(text)).values()];
}

const isoTime = (ms: number): string => new Date(ms).toISOString();

/** The text of a file of keys. */
export function writeKeyFile(records: readonly KeyRecord[]): string {
  const keys = records.map(({ id, hash, tenant, rights, note, createdMs, expiresMs, revokedMs }) => ({
    id,
    hash: base64url.encode(hash),
    tenant,
    rights,
    note,
    created: isoTime(createdMs),
    expires: expiresMs === undefined ? undefined : isoTime(expiresMs),
    revoked: revokedMs === undefined ? undefined : isoTime(revokedMs),
  }));
  return `${JSON.stringify({ schemaVersion: 1, keys }, undefined, 2)}\n`;
}
