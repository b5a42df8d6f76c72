import type { Clock } from "@longshore/core";
import { type KeyHasher, parseApiKey } from "./api-key.ts";
import { equalBytes } from "./equal-bytes.ts";
import type { Grant, Mechanism } from "./grant.ts";
import type { KeyRecord } from "./key-file.ts";
import { badCredential } from "./refusal.ts";
import { rightSet } from "./schema.ts";

/** The keys of a server, which change while it runs. */
export interface ApiKeyRing {
  /** Replaces all keys, by ID, at once. Keys that are not among them are invalid from now on. */
  replace(records: ReadonlyMap<string, KeyRecord>, hasher: KeyHasher): void;
  readonly identify: Mechanism;
}

/** The keys of one moment. */
interface Keys {
  readonly records: ReadonlyMap<string, KeyRecord>;
  readonly hasher: KeyHasher;
  /** Of the keys that came, which may be few of many. */
  readonly grants: Map<string, Grant>;
}

/** Compared with when there is no such key, so that an unknown id takes the time of a known one. */
const nobodysHash = new Uint8Array(32);

/** Why a key that was looked up is not good; undefined when it is. */
function fault(record: KeyRecord | undefined, equal: boolean, wallMs: number): string | undefined {
  if (!record) return "there is no such key";
  const { id, revokedMs, expiresMs } = record;
  if (!equal) return `the secret of key ${id} is wrong`;
  if (revokedMs !== undefined) return `key ${id} was revoked`;
  if (expiresMs !== undefined && wallMs >= expiresMs) return `key ${id} has expired`;
  return undefined;
}

function grantOf({ grants }: Keys, { id, tenant, rights }: KeyRecord): Grant {
  const known = grants.get(id);
  if (known) return known;
  const grant = { name: `key ${id}`, tenant, rights: rightSet(rights) };
  grants.set(id, grant);
  return grant;
}

/** A ring without keys. */
export function createKeyRing(clock: Clock): ApiKeyRing {
  let current: Keys | undefined;
  return {
    replace(records, hasher) {
      current = { records, hasher, grants: new Map() };
    },
    async identify(_request, { apiKey }) {
      if (apiKey === undefined) return undefined;
      const key = parseApiKey(apiKey);
      if (!key || !current) throw badCredential("API key", "it does not have the form of one");
      // Held on to, since the keys may be replaced while the hash is made.
      const keys = current;
      const hash = await keys.hasher.hash(key.text);
      const record = keys.records.get(key.id);
      const equal = equalBytes(hash, record?.hash ?? nobodysHash);
      const wrong = fault(record, equal, clock.wallMs());
      if (wrong !== undefined || !record) throw badCredential("API key", wrong ?? "there is no such key");
      return grantOf(keys, record);
    },
  };
}
