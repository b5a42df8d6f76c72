import { type Call, type Digest, LongshoreError, type Signed } from "@longshore/core";
import {
  canonicalJson,
  type FileBytes,
  manifestJson,
  maxManifestBytes,
  type PackageManifest,
  type PackageReference,
  type PackageSource,
  signedManifestFrom,
  parseJson,
  untilAborted,
} from "@longshore/core/internal";
import { jetstream, jetstreamManager, type JetStreamClient, type JsMsg } from "@nats-io/jetstream";
import { type ObjectInfo, Objm, type ObjectStore } from "@nats-io/obj";
import type { NatsConnection, NodeConnectionOptions } from "@nats-io/transport-node";
import { natsFailure, natsSession } from "./session.ts";

/** The default bucket of packages. */
export const packagesBucket = "longshore-packages";

/**
 * Makes the object store of packages where it is missing, as a copy of the one of that name in another JetStream domain where
 * `mirror` says so: an edge site fetches each file over its uplink once.
 */
export async function makePackages(
  connection: NatsConnection,
  options: {
    readonly bucket?: string;
    readonly replicas?: number;
    readonly mirror?: { readonly domain: string };
  } = {},
): Promise<ObjectStore> {
  const { bucket = packagesBucket, replicas = 1, mirror } = options;
  const store = new Objm(connection);
  if (!mirror) return store.create(bucket, { replicas });
  const { streams } = await jetstreamManager(connection);
  const name = `OBJ_${bucket}`;
  await streams.add({
    name,
    num_replicas: replicas,
    allow_direct: true,
    // The new list of an object's chunks replaces the old one; a copy without this setting lacks it.
    allow_rollup_hdrs: true,
    mirror: { name, external: { api: `$JS.${mirror.domain}.API`, deliver: "" } },
  });
  return store.open(bucket);
}

const fileName = (digest: Digest): string => `file/${digest}`;
const manifestNameOf = (wanted: PackageReference): string =>
  "model" in wanted ? `model/${wanted.model}` : `package/${wanted.digest}`;

/** The objects that were put into the store. */
export interface PublishedPackage {
  /** Files that were sent. */
  readonly sent: number;
  /** Files that the store had. */
  readonly kept: number;
  /** Whether the store had this package as the newest of its model. */
  readonly unchanged: boolean;
}

/** The manifest in the store, if it is one. */
async function manifestIn(packages: ObjectStore, name: string): Promise<Signed<PackageManifest> | undefined> {
  const there = await packages.info(name);
  if (!there || there.deleted) return undefined;
  try {
    const bytes = await packages.getBlob(name);
    return bytes ? signedManifestFrom(parseJson(bytes, "the manifest"), "the manifest") : undefined;
  } catch {
    // An object that cannot be read is replaced.
    return undefined;
  }
}

/**
 * Puts a package into the store: its files first, each once, then the manifest under its digest and as the one of its model. Throws `conflict`
 * if the store has a package of the model with a later serial: readers that installed it refuse older ones.
 *
 * @param manifest The signed manifest as JSON, as `longshore package sign` writes it.
 * @param read The content of a file, by its path in the manifest.
 */
export async function publishPackage(
  packages: ObjectStore,
  digest: Digest,
  manifest: Uint8Array,
  read: (path: string) => Promise<Uint8Array>,
): Promise<PublishedPackage> {
  const { body } = signedManifestFrom(parseJson(manifest, "the manifest"), "the manifest");
  const { model, files, serial = 0 } = body;
  const newest = manifestNameOf({ model });
  const before = await manifestIn(packages, newest);
  const { serial: beforeSerial = 0 } = before?.body ?? {};
  if (beforeSerial > serial) {
    throw new LongshoreError(
      "conflict",
      "admission",
      `the package of ${model} is at serial ${beforeSerial} in the store, later than ${serial}: sign it again`,
    );
  }
  let sent = 0;
  for (const file of files) {
    const name = fileName(file.digest);
    const there = await packages.info(name);
    // Deleted entries are still listed.
    if (there && !there.deleted) continue;
    await packages.putBlob({ name }, await read(file.path));
    sent++;
  }
  const unchanged =
    sent === 0 &&
    before !== undefined &&
    canonicalJson(manifestJson(before.body)) === canonicalJson(manifestJson(body)) &&
    (await manifestIn(packages, manifestNameOf({ digest }))) !== undefined;
  if (!unchanged) {
    await packages.putBlob({ name: manifestNameOf({ digest }) }, manifest);
    await packages.putBlob({ name: newest }, manifest);
  }
  return { sent, kept: files.length - sent, unchanged };
}

/** Chunks that are requested together. */
const chunksAtOnce = 8;
/** A server that gives none of them for this long does not answer, in milliseconds. */
const chunkMs = 5000;
/** The default size of the chunks that clients of NATS cut objects into. */
const usualChunkBytes = 131_072;

/**
 * The bytes of an object from some byte on. The client's own reading begins at the front, holds all of it in memory, and takes a
 * minute to see that nothing comes any more.
 */
async function* bytesFrom(
  js: JetStreamClient,
  bucket: string,
  { nuid, chunks, options }: ObjectInfo,
  fromByte: number,
): AsyncIterable<Uint8Array> {
  const stream = `OBJ_${bucket}`;
  const subject = { filter_subjects: `$O.${bucket}.C.${nuid}` };
  const chunkBytes = options?.max_chunk_size ?? usualChunkBytes;
  const skipped = Math.min(chunks, Math.floor(fromByte / chunkBytes));

  /** So many chunks from some number in the stream on, or their heads alone. */
  async function* read(count: number, from: number | undefined, heads: boolean): AsyncIterable<JsMsg> {
    const consumer = await js.consumers.get(stream, {
      ...subject,
      headers_only: heads,
      ...(from === undefined ? {} : { deliver_policy: "by_start_sequence", opt_start_seq: from }),
    });
    try {
      for (let left = count; left > 0;) {
        const before = left;
        const most = heads ? left : Math.min(left, chunksAtOnce);
        for await (const message of await consumer.fetch({ max_messages: most, expires: chunkMs })) {
          left--;
          yield message;
        }
        if (left === before) throw new Error(`no chunk came for ${chunkMs} ms`);
      }
    } finally {
      await consumer.delete().catch(() => undefined);
    }
  }

  let first: number | undefined;
  if (skipped > 0) for await (const { seq } of read(skipped, undefined, true)) first = seq + 1;
  let drop = fromByte - skipped * chunkBytes;
  for await (const { data } of read(chunks - skipped, first, false)) {
    const rest = data.subarray(Math.min(drop, data.byteLength));
    drop -= data.byteLength - rest.byteLength;
    if (rest.byteLength > 0) yield rest;
  }
}

function missing(what: string, bucket: string): LongshoreError {
  return new LongshoreError("unknown-model", "resolve", `there is no ${what} in ${bucket}`);
}

/** Where packages lie in NATS. */
export interface NatsPackagesOptions {
  readonly connection: NodeConnectionOptions;
  /** Default `longshore-packages`. */
  readonly bucket?: string;
}

/** The packages in an object store. It connects at the first request; a fetch that broke off goes on where it was. */
export function natsPackages({
  connection,
  bucket = packagesBucket,
}: NatsPackagesOptions): PackageSource & { close(): Promise<void> } {
  const name = `nats ${bucket}`;
  const session = natsSession(connection, name);
  const opened = <T>(
    call: Call,
    work: (packages: ObjectStore, js: JetStreamClient) => Promise<T>,
  ): Promise<T> =>
    untilAborted(
      session.use(async (open) => work(await new Objm(open).open(bucket), jetstream(open))),
      call.abort,
      "transport",
    );
  return {
    name,
    manifest: (wanted, call) =>
      opened(call, async (packages) => {
        const key = manifestNameOf(wanted);
        const info = await packages.info(key);
        if (info && info.size > maxManifestBytes) {
          throw new LongshoreError("bad-reply", "decode", `the manifest in ${bucket} has ${info.size} bytes`);
        }
        const bytes = info && !info.deleted ? await packages.getBlob(key) : null;
        if (!bytes)
          throw missing(`package ${"model" in wanted ? `of ${wanted.model}` : wanted.digest}`, bucket);
        return bytes;
      }),
    file: (_packageDigest, digest, fromByte, call): Promise<FileBytes> =>
      opened(call, async (packages, js) => {
        const info = await packages.info(fileName(digest));
        if (!info || info.deleted) throw missing(`file ${digest}`, bucket);
        const read = async function* (): AsyncIterable<Uint8Array> {
          try {
            yield* bytesFrom(js, bucket, info, fromByte);
          } catch (thrown) {
            throw natsFailure(name, thrown);
          }
        };
        return { fromByte, read };
      }),
    close: () => session.close(),
  };
}
