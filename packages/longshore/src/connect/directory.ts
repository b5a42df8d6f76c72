import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import {
  type Clock,
  type CodecSet,
  createDirectory,
  type Directory,
  type DirectoryEntry,
  emptyBody,
  type Endpoint,
  type EndpointId,
  type EndpointInfo,
  type KeptDirectory,
  type LinkBelief,
  type LinkLearner,
  linkModel,
  LongshoreError,
  type Observer,
  type Random,
  type RecordSource,
  type Signed,
} from "@longshore/core";
import {
  createRegistry,
  dropOldest,
  type BeliefMemory,
  housekeepingCall,
  type Registry,
  remoteSource,
  untilEnded,
} from "@longshore/core/internal";
import {
  type DnsResolver,
  dnsSource,
  fileMemory,
  fileSource,
  systemResolver,
  httpTransport,
  operatorRing,
} from "@longshore/nodejs";
import { platformCodecs } from "../engine/codecs.ts";
import { dial } from "./dial.ts";
import type { DialOptions, ServerOptions } from "./server-options.ts";
import { hintedLink, linkKey, type LinkHints, rememberedOf } from "./hinted-link.ts";
import { isKubernetes, kubernetesDirectory } from "./kubernetes-directory.ts";
import { isNats, natsDirectory } from "./nats-directory.ts";
import { transportShown } from "./server-tls.ts";

/** How endpoints of a directory are found and believed. */
export interface DirectoryOptions {
  /**
   * A file (YAML or JSON), `http://host:port` of a directory server, `dns:DOMAIN` (SRV and TXT records;
   * `dns://127.0.0.1:8600/DOMAIN` queries that name server, RFC 4501), `nats:HOST:PORT/BUCKET`, which needs the package `@longshore/nats`,
   * or `kubernetes:NAMESPACE[/SERVICE]`, which needs the package `@longshore/kubernetes`.
   */
  readonly from: string;
  /**
   * Public keys of the operator, a line each. With them only entries that one of them signed are believed; without, an entry is
   * `listed` at most.
   */
  readonly operatorKeys?: string;
  /** File in which the last known state outlives a restart. Default: none does. */
  readonly keptIn?: string;
  /** For how long the last known state serves without its source, in milliseconds. Default a day. */
  readonly maxAgeMs?: number;
  /** The resolver for `dns:`. Default: the name servers of this machine. */
  readonly resolver?: DnsResolver;
  /** The credentials for the directory server. */
  readonly credentials?: ServerOptions["credentials"];
  readonly tls?: ServerOptions["tls"];
}

/** The parts that opening a directory needs. */
export interface DirectoryOpening {
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
}

function resolverAt(server: string): DnsResolver {
  try {
    return systemResolver([server]);
  } catch (cause) {
    const what = `'${server.slice(0, 60)}' is no name server: give its address, such as 127.0.0.1:8600`;
    throw new LongshoreError("invalid-configuration", "resolve", what, { cause });
  }
}

async function sourceOf(
  { from, credentials, tls, resolver }: DirectoryOptions,
  { clock, random }: DirectoryOpening,
): Promise<RecordSource> {
  if (from !== "" && !/^[a-z]+:/.test(from)) return fileSource(from, { clock });
  if (from.startsWith("dns:")) {
    const [, server, domain = from.slice(4)] = /^dns:\/\/([^/]+)\/(.+)$/.exec(from) ?? [];
    const asked = resolver ?? (server === undefined ? systemResolver() : resolverAt(server));
    return dnsSource(domain, { clock, random, resolver: asked });
  }
  if (isNats(from)) {
    const shown = { ...(credentials ? { credentials } : {}), ...(tls ? { tls } : {}) };
    return natsDirectory(from, shown, { clock, random, answers: (one) => answersNow(one, clock) });
  }
  if (isKubernetes(from)) return kubernetesDirectory(from, { clock, random });
  if (!/^https?:/.test(from)) {
    // The given text may hold credentials.
    const given = from.includes("@") ? "" : `, not '${from.slice(0, 60)}'`;
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `a directory is a file, an http address, dns:DOMAIN, nats:HOST or kubernetes:NAMESPACE${given}`,
    );
  }
  const transport = httpTransport({ address: from, clock, ...transportShown({ credentials, tls }) });
  const source = remoteSource({ transport, clock, random, name: from, crc32 });
  return {
    name: source.name,
    follow(sink) {
      const following = source.follow(sink);
      return {
        async [Symbol.asyncDispose]() {
          await following[Symbol.asyncDispose]();
          await transport.close();
        },
      };
    },
  };
}

function keptOver(
  source: RecordSource,
  options: Pick<DirectoryOptions, "operatorKeys" | "keptIn" | "maxAgeMs">,
  parts: DirectoryOpening,
  unsignedTrust?: DirectoryEntry["trust"],
): KeptDirectory {
  const { operatorKeys, keptIn, maxAgeMs } = options;
  return createDirectory({
    source,
    clock: parts.clock,
    observer: parts.observer,
    codecs: [...platformCodecs().keys()],
    ...(operatorKeys === undefined ? {} : { ring: operatorRing(operatorKeys) }),
    ...(unsignedTrust === undefined ? {} : { unsignedTrust }),
    ...(keptIn === undefined ? {} : { memory: fileMemory(keptIn) }),
    ...(maxAgeMs === undefined ? {} : { maxAgeMs }),
  });
}

/**
 * Opens the directory that options name. Throws `invalid-configuration`. Await `ready` before the first request.
 *
 * @example
 * ```ts
 * import { writeFile } from "node:fs/promises";
 * import { silentObserver } from "@longshore/core";
 * import { systemClock, systemRandom } from "@longshore/nodejs";
 * import { openDirectory } from "longshore";
 *
 * const entry = { id: "store-7", address: "http://10.0.0.5:8000", tier: "edge", zone: "eu/de/store-7", trust: "listed" };
 * await writeFile("endpoints.json", JSON.stringify({ schemaVersion: 1, entries: [entry] }));
 * const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
 * const directory = await openDirectory("endpoints.json", parts);
 * await directory.ready;
 * console.log(directory.snapshot().entries.length); // 1
 * await directory[Symbol.asyncDispose]();
 * ```
 */
export async function openDirectory(
  options: string | DirectoryOptions,
  parts: DirectoryOpening,
): Promise<KeptDirectory> {
  const said = typeof options === "string" ? { from: options } : options;
  return keptOver(await sourceOf(said, parts), said, parts);
}

/** Opens a directory over a source whose records no operator signs, such as an API server; `trust` is the most that they can have. */
export function openUnsigned(
  source: RecordSource,
  trust: DirectoryEntry["trust"],
  parts: DirectoryOpening,
): KeptDirectory {
  return keptOver(source, {}, parts, trust);
}

/** How endpoints join this process. */
export interface RegistryOptions extends Omit<DirectoryOptions, "from" | "resolver" | "credentials" | "tls"> {
  /** The limits of endpoints that bring no entry of the operator's. Default: none may join without one. */
  readonly admits?: Pick<DirectoryEntry, "zone" | "trust"> & Partial<Pick<DirectoryEntry, "tier">>;
  /** Where the operator's entries of endpoints lie, too, for those that bring none, or an older one. */
  readonly entries?: KeptDirectory;
  /** Aliases that the operator signed into this directory are passed on to readers of the registry. Default: none are. */
  readonly passesOn?: Directory;
  /** Default 15,000. */
  readonly leaseMs?: number;
  /**
   * Whether requests for models that no endpoint has wait for servers that may join again after a start. False: only once a first
   * server has joined. Default true.
   */
  readonly expectsMembers?: boolean;
  /**
   * How a server whose lease has expired is checked for an answer. Default: without credentials, by the platform's authorities.
   */
  readonly dialling?: Dialling;
}

/** A directory that servers join over the network: `joins` answers them, `directory` is what is known. */
export interface OpenedRegistry {
  readonly joins: Registry;
  readonly directory: KeptDirectory;
  close(): Promise<void>;
}

/** A server that does not say within this time that it is ready is gone, in milliseconds. */
const answerMs = 2000;

/** Whether a server says that it is ready. The health check carries no credentials. */
async function answersNow(
  { id, address = "" }: Pick<EndpointInfo, "id" | "address">,
  clock: Clock,
  tls?: ServerOptions["tls"],
): Promise<boolean> {
  const transport = httpTransport({ address, clock, ...transportShown({ tls }) });
  const call = { ...housekeepingCall(`lease-${id}`), deadlineMs: clock.nowMs() + answerMs };
  try {
    const request = { method: "GET", path: "/v2/health/ready", headers: {}, body: emptyBody } as const;
    const { status } = await untilEnded(transport.send(request, call), call, clock, "resolve");
    return status === 200;
  } catch {
    // Any failure means that it did not answer.
    return false;
  } finally {
    await transport.close();
  }
}

/**
 * Opens the directory that lives in this process: that of a gateway.
 *
 * @example
 * ```ts
 * import { silentObserver } from "@longshore/core";
 * import { systemClock, systemRandom } from "@longshore/nodejs";
 * import { openModel, openRegistry, serve } from "longshore";
 *
 * const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
 * const registry = openRegistry({ admits: { zone: "eu", trust: "listed" } }, parts);
 * const { store } = await openModel("models");
 * // Others join this server, and apps read the list from it.
 * const server = await serve({ store, port: 0, joins: registry.joins });
 * await server.close();
 * await registry.close();
 * ```
 */
export function openRegistry(options: RegistryOptions, parts: DirectoryOpening): OpenedRegistry {
  const { admits, entries, passesOn, operatorKeys, leaseMs = 15_000, expectsMembers = true } = options;
  const joins = createRegistry({
    clock: parts.clock,
    instance: randomBytes(8).toString("hex"),
    codecs: [...platformCodecs().keys()],
    leaseMs,
    expectsMembers,
    remembered: options.keptIn !== undefined,
    answers: (info) => answersNow(info, parts.clock, options.dialling?.(info).tls),
    ...(admits ? { admits } : {}),
    ...(operatorKeys === undefined ? {} : { ring: operatorRing(operatorKeys) }),
    ...(entries ? { known: (id: EndpointId) => entries.wordOn(id) } : {}),
    ...(passesOn ? { aliases: () => passesOn.aliasRecords?.() ?? [] } : {}),
  });
  // An unsigned entry was admitted here, under the operator's word.
  const directory = keptOver(joins, options, parts, "vouched");
  return {
    joins,
    directory,
    async close() {
      await directory[Symbol.asyncDispose]();
      joins[Symbol.dispose]();
    },
  };
}

/** The endpoints of both, those of the first where both have one; as old as the older. */
export function unionOf(first: Directory | undefined, second: Directory | undefined): Directory | undefined {
  if (!first || !second) return first ?? second;
  return {
    snapshot() {
      const [a, b] = [first.snapshot(), second.snapshot()];
      const ids = new Set(a.entries.map(({ id }) => id));
      const problem = a.problem ?? b.problem;
      const count = (a.refused?.count ?? 0) + (b.refused?.count ?? 0);
      const because = a.refused?.because ?? b.refused?.because;
      return {
        entries: [...a.entries, ...b.entries.filter(({ id }) => !ids.has(id))],
        ageMs: Math.max(a.ageMs, b.ageMs),
        ...((a.settling ?? b.settling) ? { settling: true } : {}),
        ...([a, b].some((one) => one.settling) && [a, b].every((one) => !one.settling || one.remembered)
          ? { remembered: true }
          : {}),
        ...(problem === undefined ? {} : { problem }),
        ...(because === undefined ? {} : { refused: { count, because } }),
      };
    },
    wordOn(id) {
      const listed = first.snapshot().entries.some((entry) => entry.id === id);
      const others = listed ? undefined : second.wordOn?.(id);
      return others ?? first.wordOn?.(id);
    },
    aliases: () => [...(first.aliases?.() ?? []), ...(second.aliases?.() ?? [])],
    aliasRecords: () => [...(first.aliasRecords?.() ?? []), ...(second.aliasRecords?.() ?? [])],
    watch(changed) {
      const watches = [first.watch(changed), second.watch(changed)];
      return { [Symbol.dispose]: () => watches.forEach((one) => one[Symbol.dispose]()) };
    },
  };
}

/** Beliefs about links that are kept for endpoints that are gone and may come back. */
const maxLinks = 20_000;

/** The parts that dialling endpoints needs. */
export interface EndpointParts extends DirectoryOpening {
  /** The beliefs about links before they are used. Default: the facts that this machine's system reports. */
  readonly linkHints?: LinkHints;
  /** Beliefs that one process hands to the next. Default: nothing is kept. */
  readonly beliefs?: BeliefMemory;
  /** Whether there is a belief about the link to each endpoint, of some 100 kB. Not where another process carries the bodies. Default true. */
  readonly linkBeliefs?: boolean;
}

/** Dials endpoints as a directory names them, each with a belief about the link to it. */
export interface EndpointDialler {
  dial(info: EndpointInfo): Endpoint;
  link(id: EndpointId): LinkLearner | undefined;
}

/**
 * The credentials for an endpoint and the authorities that it is believed by. Default: nothing, and the platform's authorities.
 * `word` is the entry that lists the endpoint: an address that its body does not name is the endpoint's own statement.
 */
export type Dialling = (info: EndpointInfo, word?: Signed<DirectoryEntry>) => DialOptions;

/** The same for endpoints of a directory, which knows what was signed of them. */
export function diallingIn(directory: Directory | undefined, dialling: Dialling | undefined): Dialling {
  return (info) => dialling?.(info, directory?.wordOn?.(info.id)) ?? {};
}

/** Makes a dialler. The tables of the beliefs are shared. */
export function endpointDialler(parts: EndpointParts, dialling: Dialling = () => ({})): EndpointDialler {
  let model: ReturnType<typeof linkModel> | undefined;
  let codecs: CodecSet | undefined;
  const links = new Map<EndpointId, LinkBelief>();
  const keys = new Map<EndpointId, string>();
  parts.beliefs?.follow(() => ({
    links: rememberedOf(
      [...links].map(([id, link]) => [keys.get(id) ?? id, link] as const),
      parts.clock.nowMs(),
    ),
  }));
  return {
    dial(info) {
      const options = dialling(info);
      codecs ??= platformCodecs();
      if (parts.linkBeliefs === false) return dial(info, { ...parts, codecs }, options);
      model ??= linkModel();
      const known = links.get(info.id);
      const memory = parts.beliefs?.link(linkKey(info));
      const link = known ?? hintedLink(model, info.address ?? "", options.link, parts.linkHints, memory);
      keys.set(info.id, linkKey(info));
      links.delete(info.id);
      links.set(info.id, link);
      dropOldest(links, maxLinks);
      dropOldest(keys, maxLinks);
      return dial(info, { ...parts, link, codecs }, options);
    },
    link: (id) => links.get(id),
  };
}

/** Tells options of a directory from one that is open. */
export function isDirectory(value: Directory | DirectoryOptions | string): value is Directory {
  return typeof value === "object" && "snapshot" in value;
}
