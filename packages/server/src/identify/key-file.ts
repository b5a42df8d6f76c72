import { base64url } from "jose";
import * as v from "valibot";
import type { Right } from "./identity.ts";
import { badConfiguration, checked, rightList, strict, tenantName } from "./schema.ts";

/** What is kept of a key: everything but the key. */
export interface KeyRecord {
  readonly id: string;
  /** HMAC-SHA-256 of the key's text under the pepper. */
  readonly hash: Uint8Array;
  readonly tenant: string;
  readonly rights: readonly Right[];
  /** For people: who has it. */
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

const schema = strict({
  schemaVersion: v.literal(1),
  keys: v.pipe(
    v.array(
      strict({
        id: v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/, "must be 16 hexadecimal digits")),
        hash: v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{43}$/, "must be a base64url HMAC-SHA-256")),
        tenant: tenantName,
        rights: rightList,
        note: v.optional(v.pipe(v.string(), v.maxLength(200))),
        created: instant,
        expires: v.optional(instant),
        revoked: v.optional(instant),
      }),
    ),
    v.maxLength(maxKeys),
  ),
});

/** Reads a file of keys. Throws `invalid-configuration`, which names the entry and never shows a hash. */
export function parseKeyFile(text: string): readonly KeyRecord[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (thrown) {
    throw badConfiguration("the file of keys is not JSON", thrown);
  }
  const { keys } = checked(schema, json, "the file of keys");
  const ids = new Set<string>();
  return keys.map(({ id, hash, tenant, rights, note, created, expires, revoked }) => {
    if (ids.has(id)) throw badConfiguration(`the file of keys has two entries for ${id}`);
    ids.add(id);
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
  });
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
