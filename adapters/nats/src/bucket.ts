import { type DirectoryEntry, type DirectoryRecord, LongshoreError, type Signed } from "@longshore/core";
import {
  type Alias,
  type AliasEntry,
  aliasFrom,
  aliasJson,
  canonicalJson,
  signedEntryFrom,
} from "@longshore/core/internal";
import { Kvm, type KV, type KvEntry } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/transport-node";

/** The bucket of endpoints, where nobody names another. */
export const endpointsBucket = "longshore-endpoints";

/** A bucket that copies another, over a leaf connection: an edge site goes on reading when its uplink is cut. */
export interface MirrorOf {
  /** Default: the bucket's own name. */
  readonly bucket?: string;
  /** The JetStream domain that the other is in. */
  readonly domain: string;
}

/** Keys of a bucket may hold few characters, ids many. */
export function keyOf(id: string): string {
  return Buffer.from(id).toString("base64url");
}

/** The id that a key stands for. */
export function idOf(key: string): string {
  return Buffer.from(key, "base64url").toString();
}

/** Makes the bucket of endpoints where it is missing, as a copy of another where `mirror` says so. Only the newest record of an endpoint is kept. */
export async function makeEndpoints(
  connection: NatsConnection,
  options: { readonly bucket?: string; readonly mirror?: MirrorOf; readonly replicas?: number } = {},
): Promise<KV> {
  const { bucket = endpointsBucket, mirror, replicas = 1 } = options;
  return new Kvm(connection).create(bucket, {
    history: 1,
    replicas,
    ...(mirror ? { mirror: { name: mirror.bucket ?? bucket, domain: mirror.domain } } : {}),
  });
}

/** The operator's entry in a record of the bucket; undefined where there is none that can be read. */
export function entryIn(entry: KvEntry | null): Signed<DirectoryEntry> | undefined {
  if (entry?.operation !== "PUT") return undefined;
  try {
    const record = entry.json<{ readonly signed?: unknown }>();
    return signedEntryFrom(record.signed, "the record");
  } catch {
    return undefined;
  }
}

/** How often a word is written again that somebody else's came before. */
const mostTries = 8;

/**
 * Writes over what was looked at only: whoever wrote there meanwhile may have had a later word. Servers that joined write their own
 * record again and again, so that it is looked at again.
 *
 * @param check Throws where what lies there must stay.
 */
async function putOver(
  endpoints: KV,
  key: string,
  value: unknown,
  check: (there: KvEntry | null) => void,
): Promise<void> {
  let there = await endpoints.get(key);
  for (let tries = 1; ; tries++) {
    check(there);
    try {
      await endpoints.put(key, JSON.stringify(value), { previousSeq: there?.revision ?? 0 });
      return;
    } catch (thrown) {
      const now = await endpoints.get(key);
      if (tries === mostTries || now?.revision === there?.revision) throw thrown;
      there = now;
    }
  }
}

function conflict(why: string): LongshoreError {
  return new LongshoreError("conflict", "admission", `${why}: sign it again from there`);
}

/** @param later Such as `serial 5`. */
function overtaken(what: string, later: string, given: number): LongshoreError {
  return conflict(`${what} is at ${later} in the bucket, later than ${given}`);
}

/**
 * Writes an endpoint, or a newer word about it. Throws `conflict` where an entry with a later serial lies there: who saw that believes
 * nothing older, and who comes again would.
 */
export async function publishEndpoint(endpoints: KV, record: DirectoryRecord): Promise<void> {
  const { id, serial } = record.signed.body;
  await putOver(endpoints, keyOf(id), record, (there) => {
    const found = entryIn(there)?.body.serial ?? 0;
    if (found > serial) throw overtaken(id, `serial ${found}`, serial);
  });
}

/** Takes an endpoint out. */
export async function withdrawEndpoint(endpoints: KV, id: string): Promise<void> {
  await endpoints.delete(keyOf(id));
}

/** Aliases lie among the endpoints, under ids that no endpoint can have. */
const aliasKey = (name: string): string => keyOf(`alias ${name}`);

/** The alias that lies there; undefined where there is none that can be read. */
function aliasIn(entry: KvEntry | null): Alias | undefined {
  if (entry?.operation !== "PUT") return undefined;
  try {
    const { alias } = entry.json<{ readonly alias?: Partial<Signed<AliasEntry>> }>();
    return aliasFrom(alias?.body?.alias, "the alias");
  } catch {
    return undefined;
  }
}

/**
 * Writes an alias that the operator signed, or a newer revision of it. Throws `invalid-input` for what is no alias, and `conflict`
 * where a later revision lies there, or another alias of the same: who saw that believes no other, and who comes again would.
 */
export async function publishAlias(endpoints: KV, alias: Signed<AliasEntry>): Promise<void> {
  const given = aliasFrom(alias.body.alias, "the alias");
  const { name, revision } = given;
  await putOver(endpoints, aliasKey(name), { alias }, (there) => {
    const found = aliasIn(there);
    if (!found || found.revision < revision) return;
    if (found.revision > revision) throw overtaken(`alias ${name}`, `revision ${found.revision}`, revision);
    if (canonicalJson(aliasJson(found)) !== canonicalJson(aliasJson(given)))
      throw conflict(`alias ${name} is another one in the bucket, at revision ${revision}, too`);
  });
}

/** Takes an alias out. */
export async function withdrawAlias(endpoints: KV, name: string): Promise<void> {
  await endpoints.delete(aliasKey(name));
}
