import type { Clock } from "@longshore/core";
import { type KeyHasher, parseApiKey } from "./api-key.ts";
import { equalBytes } from "./equal-bytes.ts";
import type { Grant, Mechanism } from "./grant.ts";
import type { KeyRecord } from "./key-file.ts";
import { refusal } from "./refusal.ts";
import { rightSet } from "./schema.ts";

/** The keys of a server, which change while it runs. */
export interface KeyRing {
  /** Takes the place of all keys at once: what is not among them is not valid from now on. */
  replace(records: readonly KeyRecord[], hasher: KeyHasher): void;
  readonly identify: Mechanism;
}

interface Entry {
  readonly record: KeyRecord;
  readonly grant: Grant;
}

/** Compared with when there is no such key, so that an unknown id takes the time of a known one. */
const nobodysHash = new Uint8Array(32);

/** Why a key that was looked up is not good; undefined when it is. */
function fault(entry: Entry | undefined, equal: boolean, wallMs: number): string | undefined {
  if (!entry) return "there is no such key";
  const { id, revokedMs, expiresMs } = entry.record;
  if (!equal) return `the secret of key ${id} is wrong`;
  if (revokedMs !== undefined) return `key ${id} was revoked`;
  if (expiresMs !== undefined && wallMs >= expiresMs) return `key ${id} has expired`;
  return undefined;
}

/** A ring without keys. */
export function createKeyRing(clock: Clock): KeyRing {
  let current: { readonly entries: ReadonlyMap<string, Entry>; readonly hasher: KeyHasher } | undefined;
  return {
    replace(records, hasher) {
      const entries = records.map((record): [string, Entry] => {
        const { id, tenant, rights } = record;
        return [id, { record, grant: { name: `key ${id}`, tenant, rights: rightSet(rights) } }];
      });
      current = { entries: new Map(entries), hasher };
    },
    async identify(_request, { apiKey }) {
      if (apiKey === undefined) return undefined;
      const key = parseApiKey(apiKey);
      if (!key || !current) throw refusal("API key", "it does not have the form of one");
      // Held on to, since the keys may be replaced while the hash is made.
      const { entries, hasher } = current;
      const hash = await hasher.hash(key.text);
      const entry = entries.get(key.id);
      const equal = equalBytes(hash, entry?.record.hash ?? nobodysHash);
      const wrong = fault(entry, equal, clock.wallMs());
      if (wrong !== undefined || !entry) throw refusal("API key", wrong ?? "there is no such key");
      return entry.grant;
    },
  };
}
