import { Resolver } from "node:dns/promises";
import { type Clock, type Json, LongshoreError, type Random, type RecordSource } from "@longshore/core";
import { endOfTimeMs } from "./directory-file.ts";

/** The queries that a directory sends to DNS. Rejections carry the codes of `node:dns`. */
export interface DnsResolver {
  srv(name: string): Promise<readonly { readonly name: string; readonly port: number }[]>;
  /** Each record as the strings that it is made of. */
  txt(name: string): Promise<readonly (readonly string[])[]>;
  /** Addresses of version 4, or else 6. */
  addresses(name: string): Promise<readonly string[]>;
}

/** The options of a directory in DNS. */
export interface DnsSourceOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly resolver: DnsResolver;
  /** Between two readings, in milliseconds. Default 30,000. */
  readonly everyMs?: number;
}

/** Endpoints that are read of one name; DNS is no database. */
const maxEndpoints = 1000;
/** Questions at one time. */
const maxQuestions = 16;
/** The longest TXT record that may be an entry, in characters. */
const maxTextLength = 16_384;

const nothingThere: ReadonlySet<string> = new Set(["ENODATA", "ENOTFOUND"]);

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "it cannot be read";
}

function unreadable(name: string, cause: unknown): LongshoreError {
  if (LongshoreError.is(cause)) return cause;
  return new LongshoreError("unreachable", "resolve", `${name} cannot be read: ${codeOf(cause)}`, { cause });
}

/**
 * Asks the machine's DNS servers, or others (`127.0.0.1:5353`).
 *
 * @example
 * ```ts
 * import { systemResolver } from "@longshore/nodejs";
 *
 * // The name server at this address instead of the machine's own.
 * const resolver = systemResolver(["127.0.0.1:8600"]);
 * console.log(typeof resolver.srv); // function
 * ```
 */
export function systemResolver(servers?: readonly string[], timeoutMs = 2000): DnsResolver {
  const resolver = new Resolver({ timeout: timeoutMs, tries: 2 });
  if (servers) resolver.setServers(servers);
  return {
    srv: (name) => resolver.resolveSrv(name),
    txt: (name) => resolver.resolveTxt(name),
    addresses: async (name) => {
      try {
        return await resolver.resolve4(name);
      } catch (thrown) {
        if (!nothingThere.has(codeOf(thrown))) throw thrown;
        return resolver.resolve6(name);
      }
    },
  };
}

/** The name of the query: `example.com` stands for `_longshore._tcp.example.com`. */
function serviceOf(domain: string): string {
  const name = domain.startsWith("_") ? domain : `_longshore._tcp.${domain}`;
  if (name.length <= 253 && /^(_?[A-Za-z0-9-]{1,62}\.)+[A-Za-z0-9-]{1,63}$/.test(name)) return name;
  throw new LongshoreError("invalid-configuration", "resolve", `'${domain.slice(0, 100)}' is no name of DNS`);
}

/** A possible signed entry of the operator; a directory has not read it yet. */
interface DnsEntry {
  readonly signed: Json;
  /** 0 where it has none. */
  readonly serial: number;
  /** The port that its own address names. */
  readonly port: number | undefined;
}

function portOf(address: unknown): number | undefined {
  if (typeof address !== "string" || !URL.canParse(address)) return undefined;
  const { port, protocol } = new URL(address);
  return port === "" ? (protocol === "https:" ? 443 : 80) : Number(port);
}

/** The entries in the TXT records of a host, in an order that is not the name server's; of one endpoint the latest. */
function entriesIn(records: readonly (readonly string[])[]): readonly DnsEntry[] {
  const latest = new Map<string, DnsEntry>();
  for (const text of records.map((strings) => strings.join("")).toSorted()) {
    if (!text.startsWith("{") || text.length > maxTextLength) continue;
    try {
      // JSON is JSON; of what it says of itself each part is checked.
      const signed = JSON.parse(text) as Json & { readonly body?: { readonly [part: string]: unknown } };
      const { id, serial, address } = signed.body ?? {};
      const entry = { signed, serial: typeof serial === "number" ? serial : 0, port: portOf(address) };
      if (entry.serial >= (latest.get(String(id))?.serial ?? 0)) latest.set(String(id), entry);
    } catch {
      // A record of another program.
    }
  }
  return [...latest.values()];
}

/** Runs `work` over items, a few at a time, in their order. */
async function eachOf<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<readonly R[]> {
  const done: R[] = [];
  for (let at = 0; at < items.length; at += maxQuestions) {
    done.push(...(await Promise.all(items.slice(at, at + maxQuestions).map(work))));
  }
  return done;
}

/** A name that SRV records point to, and the ports that they name there. */
interface DnsTarget {
  readonly name: string;
  readonly ports: readonly number[];
}

function targetsOf(services: readonly { readonly name: string; readonly port: number }[]): DnsTarget[] {
  const ports = new Map<string, Set<number>>();
  for (const { name, port } of services) ports.set(name, (ports.get(name) ?? new Set()).add(port));
  return Array.from(ports, ([name, some]) => ({ name, ports: [...some].toSorted((a, b) => a - b) }));
}

/** The DNS records of a target. */
interface DnsHost {
  readonly target: DnsTarget;
  readonly entries: readonly DnsEntry[];
  /** An address if it has one, else its name. */
  readonly host: string;
}

/** @param before The host as which it was known before: of several addresses that one stays, in whatever order they come. */
async function hostAt(
  target: DnsTarget,
  before: string | undefined,
  encrypted: boolean,
  resolver: DnsResolver,
): Promise<DnsHost> {
  const { name } = target;
  const entries = await resolver.txt(`_longshore.${name}`).then(entriesIn, (thrown: unknown) => {
    if (nothingThere.has(codeOf(thrown))) return [];
    throw thrown;
  });
  // A certificate is for the name; without one the address spares the dialler another query.
  const addresses = encrypted ? [] : await resolver.addresses(name);
  const hosts = addresses.map((address) => (address.includes(":") ? `[${address}]` : address));
  const [first = name] = hosts;
  return { target, entries, host: hosts.find((host) => host === before) ?? first };
}

/**
 * The records of the endpoints at a host. An entry is of the port that its address names. Of those that name none of the ports,
 * a single one is for the lowest port that is left; several cannot be assigned, since records of DNS have no order.
 */
function recordsOf({ target: { name, ports }, entries, host }: DnsHost, encrypted: boolean): readonly Json[] {
  const entryAt = new Map<number, DnsEntry>();
  const others: DnsEntry[] = [];
  for (const entry of entries) {
    const { port } = entry;
    if (port === undefined || !ports.includes(port) || entryAt.has(port)) others.push(entry);
    else entryAt.set(port, entry);
  }
  const free = ports.find((port) => !entryAt.has(port));
  const [other] = others;
  if (free !== undefined && other && others.length === 1) {
    entryAt.set(free, other);
    others.pop();
  }
  const placed = ports.map((port): Json => {
    const body = {
      schemaVersion: 1,
      id: `${name}:${port}`,
      serial: 1,
      notBeforeMs: 0,
      notAfterMs: endOfTimeMs,
      tier: "edge",
      zone: "unknown",
      trust: "listed",
    };
    const told = { address: `${encrypted ? "https" : "http"}://${host}:${port}` };
    return { signed: entryAt.get(port)?.signed ?? { body }, statement: told };
  });
  return [...placed, ...others.map(({ signed }) => ({ signed }))];
}

/**
 * A directory in DNS: SRV records of `_longshore._tcp.DOMAIN` (`_longshore-tls._tcp` for https) say where endpoints are, and a
 * TXT record of `_longshore.TARGET` holds the operator's entry as JSON, one for each endpoint there. An endpoint without one is
 * `listed`, in no known zone. A missing name counts as a failure, since resolvers that are cut off report that too; an empty
 * list is stated by the target `.` (RFC 2782).
 *
 * @example
 * ```ts
 * import { dnsSource, systemClock, systemRandom, systemResolver } from "@longshore/nodejs";
 *
 * const source = dnsSource("store.example", { clock: systemClock(), random: systemRandom(), resolver: systemResolver() });
 * console.log(source.name.includes("store.example")); // true
 * ```
 */
export function dnsSource(domain: string, options: DnsSourceOptions): RecordSource {
  const { clock, random, resolver, everyMs = 30_000 } = options;
  const service = serviceOf(domain);
  const encrypted = service.startsWith("_longshore-tls.");
  let known: ReadonlyMap<string, string> = new Map();
  const read = async (): Promise<readonly Json[]> => {
    const services = (await resolver.srv(service)).filter(({ name }) => name !== "" && name !== ".");
    if (services.length > maxEndpoints) {
      throw new LongshoreError(
        "memory-limit",
        "resolve",
        `${service} has more than ${maxEndpoints} endpoints`,
      );
    }
    const hosts = await eachOf(targetsOf(services), (target) =>
      hostAt(target, known.get(target.name), encrypted, resolver).catch((thrown: unknown) => {
        throw unreadable(target.name, thrown);
      }),
    );
    known = new Map(hosts.map(({ target: { name }, host }) => [name, host]));
    return hosts.flatMap((host) => recordsOf(host, encrypted));
  };
  return {
    name: `dns ${service}`,
    follow(sink) {
      let stopped = false;
      let timer: Disposable | undefined;
      const turn = async (): Promise<void> => {
        try {
          const records = await read();
          if (!stopped) sink.all(records);
        } catch (thrown) {
          if (!stopped) sink.failed(unreadable(service, thrown));
        }
        if (!stopped) timer = clock.timer(everyMs * (0.8 + 0.2 * random.next()), ask);
      };
      let asking: Promise<void> = Promise.resolve();
      const ask = (): void => {
        asking = turn();
      };
      ask();
      return {
        async [Symbol.asyncDispose]() {
          stopped = true;
          timer?.[Symbol.dispose]();
          await asking;
        },
      };
    },
  };
}
