import { type Digest, type DirectoryEntry, LongshoreError, type Signed } from "@longshore/core";
import type { AliasEntry } from "@longshore/core/internal";
import { jetstreamManager } from "@nats-io/jetstream";
import { type KV, Kvm } from "@nats-io/kv";
import type { NatsConnection, NodeConnectionOptions } from "@nats-io/transport-node";
import {
  checkPublishable,
  endpointsBucket,
  hasAlias,
  hasEndpoint,
  makeEndpoints,
  publishAlias,
  publishEndpoint,
  withdrawAlias,
  withdrawEndpoint,
  type Written,
} from "./bucket.ts";
import { makePackages, packagesBucket, type PublishedPackage, publishPackage } from "./nats-packages.ts";
import { natsSession } from "./session.ts";

/** Where an operator publishes. */
export interface NatsWriterOptions {
  readonly connection: NodeConnectionOptions;
  /** Default `longshore-endpoints` or `longshore-packages`. */
  readonly bucket?: string;
  /** Copies of a bucket that is made. Default 1. */
  readonly replicas?: number;
}

/** Writes entries and aliases into a bucket, which is made if it is missing. */
export interface NatsDirectoryWriter {
  /**
   * Publishes all of these, or none if one conflicts with a later entry or alias in the bucket (`conflict`). Answers come in the order of entries, then of aliases.
   */
  publish(
    entries: readonly Signed<DirectoryEntry>[],
    aliases: readonly Signed<AliasEntry>[],
  ): Promise<readonly Written[]>;
  /** Takes an endpoint out; false where there is none. */
  withdraw(id: string): Promise<boolean>;
  /** Takes an alias out; false where there is none. */
  withdrawAlias(name: string): Promise<boolean>;
  /** Makes the bucket as a copy of the one of its name in another JetStream domain. */
  mirror(domain: string): Promise<void>;
  close(): Promise<void>;
}

/** The name of the bucket in errors: the operator wrote the address into the command. */
function nameOf({ servers }: NodeConnectionOptions, bucket: string): string {
  return `nats ${[servers ?? []].flat().join(",")}/${bucket}`;
}

/** The bucket, which must be there. Throws `invalid-input`. */
async function openEndpoints(connection: NatsConnection, bucket: string): Promise<KV> {
  const { streams } = await jetstreamManager(connection);
  const names = await streams.names(`$KV.${bucket}.>`).next();
  if (names.length === 0) {
    const what = `there is no bucket '${bucket}' at this NATS server: publish something first, or name another one behind the slash`;
    throw new LongshoreError("invalid-input", "resolve", what);
  }
  return new Kvm(connection).open(bucket);
}

/** Opens a directory for writing. Nothing is connected yet. */
export function natsDirectoryWriter(options: NatsWriterOptions): NatsDirectoryWriter {
  const { connection, bucket = endpointsBucket, replicas } = options;
  const session = natsSession(connection, nameOf(connection, bucket));
  const made = { bucket, ...(replicas === undefined ? {} : { replicas }) };
  return {
    publish: (entries, aliases) =>
      session.use(async (open) => {
        const endpoints = await makeEndpoints(open, made);
        await checkPublishable(endpoints, entries, aliases);
        const written: Written[] = [];
        for (const signed of entries) written.push(await publishEndpoint(endpoints, { signed }));
        for (const alias of aliases) written.push(await publishAlias(endpoints, alias));
        return written;
      }),
    withdraw: (id) =>
      session.use(async (open) => {
        const endpoints = await openEndpoints(open, bucket);
        if (!(await hasEndpoint(endpoints, id))) return false;
        await withdrawEndpoint(endpoints, id);
        return true;
      }),
    withdrawAlias: (name) =>
      session.use(async (open) => {
        const endpoints = await openEndpoints(open, bucket);
        if (!(await hasAlias(endpoints, name))) return false;
        await withdrawAlias(endpoints, name);
        return true;
      }),
    mirror: (domain) =>
      session.use(async (open) => void (await makeEndpoints(open, { ...made, mirror: { domain } }))),
    close: () => session.close(),
  };
}

/** Writes packages into an object store, which is made if it is missing. */
export interface NatsPackageWriter {
  /** As `publishPackage`. */
  publish(
    digest: Digest,
    manifest: Uint8Array,
    read: (path: string) => Promise<Uint8Array>,
  ): Promise<PublishedPackage>;
  /** Makes the store as a copy of the one of its name in another JetStream domain. */
  mirror(domain: string): Promise<void>;
  close(): Promise<void>;
}

/** Opens an object store of packages for writing. Nothing is connected yet. */
export function natsPackageWriter(options: NatsWriterOptions): NatsPackageWriter {
  const { connection, bucket = packagesBucket, replicas } = options;
  const session = natsSession(connection, nameOf(connection, bucket));
  const made = { bucket, ...(replicas === undefined ? {} : { replicas }) };
  return {
    publish: (digest, manifest, read) =>
      session.use(async (open) => publishPackage(await makePackages(open, made), digest, manifest, read)),
    mirror: (domain) =>
      session.use(async (open) => void (await makePackages(open, { ...made, mirror: { domain } }))),
    close: () => session.close(),
  };
}
