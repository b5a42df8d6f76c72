import {
  type Alias,
  type AliasEntry,
  aliasFrom,
  aliasJson,
  canonicalJson,
  type DirectoryRecord,
  LongshoreError,
  type Signed,
} from "@longshore/core";
import { JetStreamApiCodes, JetStreamApiError } from "@nats-io/jetstream";
import { Kvm, type KV, type KvEntry } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/transport-node";

/** The bucket of places, where nobody names another. */
export const placesBucket = "longshore-places";

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

/** Makes the bucket of places where it is missing, as a copy of another where `mirror` says so. Only the newest record of a place is kept. */
export async function makePlaces(
  connection: NatsConnection,
  options: { readonly bucket?: string; readonly mirror?: MirrorOf; readonly replicas?: number } = {},
): Promise<KV> {
  const { bucket = placesBucket, mirror, replicas = 1 } = options;
  return new Kvm(connection).create(bucket, {
    history: 1,
    replicas,
    ...(mirror ? { mirror: { name: mirror.bucket ?? bucket, domain: mirror.domain } } : {}),
  });
}

/** Writes a place, or a newer word about it. */
export async function publishPlace(places: KV, record: DirectoryRecord): Promise<void> {
  await places.put(keyOf(record.signed.body.id), JSON.stringify(record));
}

/** Takes a place out. */
export async function withdrawPlace(places: KV, id: string): Promise<void> {
  await places.delete(keyOf(id));
}

/** Aliases lie among the places, under ids that no place can have. */
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

function conflict(why: string): LongshoreError {
  return new LongshoreError("conflict", "admission", `${why}: sign it again from there`);
}

/**
 * Writes an alias that the operator signed, or a newer revision of it. Throws `invalid-input` for what is no alias, and `conflict`
 * where a later revision lies there, or another alias of the same: who saw that believes no other, and who comes anew would.
 */
export async function publishAlias(places: KV, alias: Signed<AliasEntry>): Promise<void> {
  const given = aliasFrom(alias.body.alias, "the alias");
  const { name, revision } = given;
  const key = aliasKey(name);
  const there = await places.get(key);
  const found = aliasIn(there);
  if (found && found.revision > revision)
    throw conflict(`alias ${name} is at revision ${found.revision} in the bucket, later than ${revision}`);
  if (found?.revision === revision && canonicalJson(aliasJson(found)) !== canonicalJson(aliasJson(given)))
    throw conflict(`alias ${name} is another one in the bucket, at revision ${revision}, too`);
  try {
    await places.put(key, JSON.stringify({ alias }), { previousSeq: there?.revision ?? 0 });
  } catch (thrown) {
    // What they wrote may be a later one.
    if (thrown instanceof JetStreamApiError && thrown.code === JetStreamApiCodes.StreamWrongLastSequence)
      throw conflict(`somebody else wrote alias ${name} meanwhile`);
    throw thrown;
  }
}

/** Takes an alias out. */
export async function withdrawAlias(places: KV, name: string): Promise<void> {
  await places.delete(aliasKey(name));
}
