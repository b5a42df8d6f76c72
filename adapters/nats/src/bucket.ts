import {
  type DirectoryEntry,
  type DirectoryRecord,
  type Json,
  LongshoreError,
  type Signed,
} from "@longshore/core";
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

/** The default bucket of endpoints. */
export const endpointsBucket = "longshore-endpoints";

/** A bucket that copies another, over a leaf connection: an edge site goes on reading when its uplink is cut. */
export interface MirrorOf {
  /** Default: the bucket's own name. */
  readonly bucket?: string;
  /** The JetStream domain that the other is in. */
  readonly domain: string;
}

/** Keys of a bucket may hold few characters, ids many. */
export function bucketKey(id: string): string {
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

/** How often a record is written again if another writer came before. */
const mostTries = 8;

/** The access to a bucket that writing a record needs. */
export type RecordAccess = Pick<KV, "get" | "put">;

/** Whether something was written, or lies there as it was given. */
export type Written = "published" | "unchanged";

/**
 * Writes what `next` makes of the record in the bucket, and only over that record. Servers that joined renew their own records, so a write that
 * another one came before is tried again.
 *
 * @param next Undefined where nothing is to be written. Throws where the record must stay.
 */
async function putOver(
  endpoints: RecordAccess,
  key: string,
  next: (there: KvEntry | null) => unknown,
): Promise<Written> {
  let there = await endpoints.get(key);
  for (let tries = 1; ; tries++) {
    const value = next(there);
    if (value === undefined) return "unchanged";
    try {
      await endpoints.put(key, JSON.stringify(value), { previousSeq: there?.revision ?? 0 });
      return "published";
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

/** The fields that the server itself wrote into its record: its address, and the end of its lease. Empty once it has left. */
function statedIn(entry: KvEntry | null): object {
  if (entry?.operation !== "PUT") return {};
  try {
    const { statement, leaseMs, left } = entry.json<Record<string, unknown>>();
    return statement === undefined || left === true ? {} : { statement, leaseMs };
  } catch {
    return {};
  }
}

/** The record to write over the one in the bucket; undefined where the bucket has this entry. Throws `conflict`. */
function nextEndpoint(there: KvEntry | null, record: DirectoryRecord): unknown {
  const { id, serial } = record.signed.body;
  const found = entryIn(there);
  if (found && found.body.serial > serial) throw overtaken(id, `serial ${found.body.serial}`, serial);
  // A server that joined goes on being where it is while its entry changes.
  const next = { ...statedIn(there), ...record };
  const isSame = found && record.statement === undefined && sameJson(found, record.signed);
  return isSame ? undefined : next;
}

/** Compares two values as JSON, in whatever order their fields are. */
function sameJson(a: unknown, b: unknown): boolean {
  const text = (value: unknown): string => canonicalJson(JSON.parse(JSON.stringify(value)) as Json);
  return text(a) === text(b);
}

/**
 * Writes an endpoint, or a newer entry of it. The description that its server gave when it joined stays. Throws `conflict` if the bucket has a later
 * serial: readers that saw it refuse older ones.
 */
export async function publishEndpoint(endpoints: RecordAccess, record: DirectoryRecord): Promise<Written> {
  return putOver(endpoints, bucketKey(record.signed.body.id), (there) => nextEndpoint(there, record));
}

/** Whether an endpoint lies in the bucket. */
export async function hasEndpoint(endpoints: KV, id: string): Promise<boolean> {
  return (await endpoints.get(bucketKey(id)))?.operation === "PUT";
}

/** Takes an endpoint out. */
export async function withdrawEndpoint(endpoints: KV, id: string): Promise<void> {
  await endpoints.delete(bucketKey(id));
}

/** Aliases lie among the endpoints, under ids that no endpoint can have. */
const aliasKey = (name: string): string => bucketKey(`alias ${name}`);

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

/** The record to write over the one in the bucket; undefined where the bucket has this alias. Throws `conflict`. */
function nextAlias(there: KvEntry | null, alias: Signed<AliasEntry>, given: Alias): unknown {
  const { name, revision } = given;
  const found = aliasIn(there);
  if (!found || found.revision < revision) return { alias };
  if (found.revision > revision) throw overtaken(`alias ${name}`, `revision ${found.revision}`, revision);
  if (!sameJson(aliasJson(found), aliasJson(given)))
    throw conflict(`alias ${name} is another one in the bucket, at revision ${revision}, too`);
  // It may have been signed again, to be valid for longer.
  return sameJson(there?.json(), { alias }) ? undefined : { alias };
}

/**
 * Writes an alias that the operator signed, or a newer revision of it. Throws `invalid-input` for what is no alias, and `conflict`
 * if the bucket has a later revision or another alias of the same one: readers that saw it refuse others.
 */
export async function publishAlias(endpoints: RecordAccess, alias: Signed<AliasEntry>): Promise<Written> {
  const given = aliasFrom(alias.body.alias, "the alias");
  return putOver(endpoints, aliasKey(given.name), (there) => nextAlias(there, alias, given));
}

/** Throws `conflict` where one of these cannot be published, before any is. */
export async function checkPublishable(
  endpoints: KV,
  entries: readonly Signed<DirectoryEntry>[],
  aliases: readonly Signed<AliasEntry>[],
): Promise<void> {
  for (const signed of entries) nextEndpoint(await endpoints.get(bucketKey(signed.body.id)), { signed });
  for (const alias of aliases) {
    const given = aliasFrom(alias.body.alias, "the alias");
    nextAlias(await endpoints.get(aliasKey(given.name)), alias, given);
  }
}

/** Whether an alias lies in the bucket. */
export async function hasAlias(endpoints: KV, name: string): Promise<boolean> {
  return (await endpoints.get(aliasKey(name)))?.operation === "PUT";
}

/** Takes an alias out. */
export async function withdrawAlias(endpoints: KV, name: string): Promise<void> {
  await endpoints.delete(aliasKey(name));
}
