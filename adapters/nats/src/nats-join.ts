import {
  type Call,
  type DirectoryRecord,
  type Json,
  type KeyRing,
  LongshoreError,
  readBody,
  type Signed,
  type DirectoryEntry,
  type Transport,
  type WireRequest,
} from "@longshore/core";
import {
  checkSignature,
  entryJson,
  type JoinReply,
  joinRequestFrom,
  leaveRequestFrom,
  parseJson,
  untilAborted,
} from "@longshore/core/internal";
import { jetstream } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection, NodeConnectionOptions } from "@nats-io/transport-node";
import { entryIn, bucketKey, endpointsBucket } from "./bucket.ts";
import { natsSession } from "./session.ts";

/** Where a server joins. */
export interface NatsJoinOptions {
  readonly connection: NodeConnectionOptions;
  /** Default `longshore-endpoints`. */
  readonly bucket?: string;
  /** Silence for this long is leaving, in milliseconds. Default a minute, longer than a copy elsewhere is cut off without noticing. */
  readonly leaseMs?: number;
  /** The operator's keys: only entries that one of them signed count. Default: all entries in the bucket count. */
  readonly ring?: KeyRing;
}

const maxJoinBytes = 2 ** 20;

/** The bucket itself if the one here is a copy: only writes there count, also for readers of the copy. */
async function originOf(connection: NatsConnection, bucket: string): Promise<KV> {
  const endpoints = await new Kvm(connection).open(bucket);
  const { mirror } = (await endpoints.status()).streamInfo.config;
  const [, domain] = /^\$JS\.([^.]+)\.API$/.exec(mirror?.external?.api ?? "") ?? [];
  if (!mirror || domain === undefined) return endpoints;
  return new Kvm(jetstream(connection, { domain })).open(mirror.name.replace(/^KV_/, ""));
}

/**
 * Joins a server to a directory that NATS alone keeps: the statement that `joinDirectory` would send to a directory server goes
 * into the bucket, under the server's own key. Of the entry that it brings and the one in the bucket, the operator's later one
 * counts, so that a new one can be published there while it runs. Its users need access to no keys but their own.
 */
export function natsJoin({
  connection,
  bucket = endpointsBucket,
  leaseMs = 60_000,
  ring,
}: NatsJoinOptions): Transport {
  const name = `nats ${bucket}`;
  const session = natsSession(connection, name);

  /** Why an entry does not count; undefined where it does. */
  async function against({ body, signature }: Signed<DirectoryEntry>): Promise<string | undefined> {
    if (!ring) return undefined;
    const signed = { body: entryJson(body), ...(signature ? { signature } : {}) };
    return checkSignature("directory entry", signed, ring).then(
      () => undefined,
      (thrown: unknown) => LongshoreError.from(thrown, "identify", "checking an entry").message,
    );
  }

  async function join(endpoints: KV, raw: unknown): Promise<JoinReply> {
    const { id, statement, signed: brought } = joinRequestFrom(raw, "the request");
    const key = bucketKey(id);
    const there = await endpoints.get(key);
    let signed: Signed<DirectoryEntry> | undefined;
    let why = "";
    for (const one of [brought, entryIn(there)]) {
      if (one?.body.id !== id || (signed && signed.body.serial >= one.body.serial)) continue;
      const problem = await against(one);
      if (problem === undefined) signed = one;
      else why = `: ${problem}`;
    }
    if (!signed) {
      throw new LongshoreError(
        "not-permitted",
        "identify",
        `${id} brings no entry of the operator for itself, and there is none in ${bucket}${why}`,
      );
    }
    const record: DirectoryRecord = { signed, statement };
    // The other writer may have been the operator: the new record is read first.
    await endpoints.put(key, JSON.stringify({ ...record, leaseMs }), { previousSeq: there?.revision ?? 0 });
    return { schemaVersion: 1, leaseMs, packages: signed.body.packages ?? [] };
  }

  /** The operator's word stays, for the next time. */
  async function leave(endpoints: KV, raw: unknown): Promise<Json> {
    const { id } = leaveRequestFrom(raw, "the request");
    const there = await endpoints.get(bucketKey(id));
    const signed = entryIn(there);
    if (there && signed)
      await endpoints.put(bucketKey(id), JSON.stringify({ signed, left: true }), {
        previousSeq: there.revision,
      });
    return {};
  }

  return {
    progress: "none",
    async send({ path, body }: WireRequest, call: Call) {
      const raw = parseJson(await readBody(body, { maxBytes: maxJoinBytes }), "the request");
      const done = session.use(async (open): Promise<unknown> => {
        const endpoints = await originOf(open, bucket);
        return path === "/v2/directory/leave" ? await leave(endpoints, raw) : await join(endpoints, raw);
      });
      const bytes = new TextEncoder().encode(
        JSON.stringify(await untilAborted(done, call.abort, "transport")),
      );
      return { status: 200, headers: {}, body: { kind: "parts", parts: [bytes] } };
    },
    close: () => session.close(),
  };
}
