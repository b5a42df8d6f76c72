import {
  type Clock,
  type DirectoryEntry,
  type KeyRing,
  LongshoreError,
  type Random,
  type RecordSource,
  type Signed,
  type Transport,
} from "@longshore/core";
import type { PackageSource } from "@longshore/core/internal";
import type { ServerOptions } from "./server-options.ts";
import type { SignedAlias } from "./entry-file.ts";
import { adapterPackage, type Find } from "../engine/optional-package.ts";

/** The servers of NATS to connect to, and the credentials. */
interface NatsAt {
  readonly connection: {
    readonly servers: readonly string[];
    readonly token?: string;
    readonly tls?: Readonly<Record<string, string>> | null;
  };
  readonly bucket?: string;
}

/** Packages from somewhere that is connected to. */
export type OpenPackages = PackageSource & { close(): Promise<void> };

/** Whether a server answers at its address. */
export type Answers = (server: { readonly id: string; readonly address: string }) => Promise<boolean>;

/** The exports of `@longshore/nats` that are used here; the package is found at run time, never required. */
export interface NatsPackage {
  natsSource(
    options: NatsAt & { readonly clock: Clock; readonly random: Random; readonly answers?: Answers },
  ): RecordSource;
  natsJoin(options: NatsAt & { readonly ring?: KeyRing }): Transport;
  natsPackages(options: NatsAt): OpenPackages;
  natsDirectoryWriter(options: NatsAt & { readonly replicas?: number }): DirectoryWriter;
  natsPackageWriter(options: NatsAt & { readonly replicas?: number }): PackageWriter;
}

/** Whether something was written, or the bucket had it. */
export type NatsWritten = "published" | "unchanged";

/** Writes what an operator signed into a bucket. */
export interface DirectoryWriter {
  /** Publishes all of these or, if one conflicts with what the bucket has, none (`conflict`). */
  publish(
    entries: readonly Signed<DirectoryEntry>[],
    aliases: readonly SignedAlias[],
  ): Promise<readonly NatsWritten[]>;
  /** False where there is none. */
  withdraw(id: string): Promise<boolean>;
  withdrawAlias(name: string): Promise<boolean>;
  mirror(domain: string): Promise<void>;
  close(): Promise<void>;
}

/** Writes packages into an object store. */
export interface PackageWriter {
  publish(
    digest: string,
    manifest: Uint8Array,
    read: (path: string) => Promise<Uint8Array>,
  ): Promise<{ readonly sent: number; readonly kept: number; readonly unchanged: boolean }>;
  mirror(domain: string): Promise<void>;
  close(): Promise<void>;
}

/** `nats:host:port`, several with commas between, and the bucket after a slash. */
interface NatsEndpoint {
  readonly servers: readonly string[];
  readonly bucket?: string;
}

const form = "nats:HOST[:PORT][,HOST[:PORT]...][/BUCKET]";

function endpointOf(from: string): NatsEndpoint {
  const [, hosts = "", bucket] = /^nats:(?:\/\/)?([^/]*)(?:\/(.*))?$/.exec(from) ?? [];
  const servers = hosts.split(",");
  const named = servers.every((one) =>
    /^(?:[A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/.test(one),
  );
  if (!named || (bucket !== undefined && !/^[A-Za-z0-9_-]{1,256}$/.test(bucket))) {
    // Not the text itself: people write passwords into addresses.
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `a source in NATS is written ${form}, without user and password: a token goes into the file of --directory-key, --join-key or --packages-key`,
    );
  }
  return { servers, ...(bucket === undefined ? {} : { bucket }) };
}

/** The credentials of a server in the form that NATS takes. */
function shown({ credentials, tls }: Pick<ServerOptions, "credentials" | "tls">): object {
  if (credentials && !("bearer" in credentials && typeof credentials.bearer === "string")) {
    throw new LongshoreError("invalid-configuration", "resolve", "NATS is shown a token that is a text");
  }
  const { authorities, certificate, key, serverName } = tls ?? {};
  return {
    ...(credentials && "bearer" in credentials ? { token: credentials.bearer } : {}),
    ...(tls
      ? {
          tls: {
            ...(authorities === undefined ? {} : { ca: authorities }),
            ...(certificate === undefined ? {} : { cert: certificate }),
            ...(key === undefined ? {} : { key }),
            // Taken by the sockets below, although the client's types do not name it.
            ...(serverName === undefined ? {} : { servername: serverName }),
          },
        }
      : {}),
  };
}

/** The package, and where something lies. Throws `invalid-configuration` for an address that is none, and without the package. */
async function natsAt(
  from: string,
  options: Pick<ServerOptions, "credentials" | "tls">,
  find?: Find,
): Promise<{ readonly nats: NatsPackage; readonly at: NatsAt }> {
  const { servers, bucket } = endpointOf(from);
  const connection = { servers, ...shown(options) };
  return {
    // The package is built with this one; its tests call the same functions.
    nats: (await adapterPackage("nats", "a source in NATS", find)) as NatsPackage,
    at: { connection, ...(bucket === undefined ? {} : { bucket }) },
  };
}

/** Whether an address is one in NATS. */
export function isNats(from: string): boolean {
  return from.startsWith("nats:");
}

/** A directory in a bucket of NATS. Throws as all here for an address that is none, and where the package is not installed. */
export async function natsDirectory(
  from: string,
  options: Pick<ServerOptions, "credentials" | "tls">,
  { clock, random, answers }: { readonly clock: Clock; readonly random: Random; readonly answers?: Answers },
  find?: Find,
): Promise<RecordSource> {
  const { nats, at } = await natsAt(from, options, find);
  return nats.natsSource({ ...at, clock, random, ...(answers ? { answers } : {}) });
}

/** The way of a server into such a directory, for `joinDirectory`. */
export async function natsDirectoryServer(
  from: string,
  options: Pick<ServerOptions, "credentials" | "tls"> & { readonly ring?: KeyRing },
  find?: Find,
): Promise<Transport> {
  const { ring } = options;
  const { nats, at } = await natsAt(from, options, find);
  return nats.natsJoin({ ...at, ...(ring ? { ring } : {}) });
}

/** Packages in an object store of NATS; the package `@longshore/nats` is looked up at the first request. */
export function optionalNatsPackages(
  from: string,
  options: Pick<ServerOptions, "credentials" | "tls">,
  find?: Find,
): OpenPackages {
  endpointOf(from);
  let open: Promise<OpenPackages> | undefined;
  const source = (): Promise<OpenPackages> =>
    (open ??= natsAt(from, options, find).then(({ nats, at }) => nats.natsPackages(at)));
  return {
    name: from,
    manifest: async (...asked) => (await source()).manifest(...asked),
    file: async (...asked) => (await source()).file(...asked),
    close: async () => (await open?.catch(() => undefined))?.close(),
  };
}

/** How a bucket that is missing is made. */
interface Making {
  readonly replicas?: number;
}

/** Opens a directory in NATS for writing. Throws as all here for an address that is none, and without the package. */
export async function optionalNatsDirectoryWriter(
  to: string,
  options: Pick<ServerOptions, "credentials" | "tls"> & Making,
  find?: Find,
): Promise<DirectoryWriter> {
  const { replicas } = options;
  const { nats, at } = await natsAt(to, options, find);
  return nats.natsDirectoryWriter({ ...at, ...(replicas === undefined ? {} : { replicas }) });
}

/** Opens an object store of packages in NATS for writing. */
export async function optionalNatsPackageWriter(
  to: string,
  options: Pick<ServerOptions, "credentials" | "tls"> & Making,
  find?: Find,
): Promise<PackageWriter> {
  const { replicas } = options;
  const { nats, at } = await natsAt(to, options, find);
  return nats.natsPackageWriter({ ...at, ...(replicas === undefined ? {} : { replicas }) });
}
