import { Resolver } from "node:dns/promises";
import { type Clock, type Json, LongshoreError, type Random, type RecordSource } from "@longshore/core";

/** The questions that a directory asks DNS. Rejections carry the codes of `node:dns`. */
export interface DnsResolver {
  srv(name: string): Promise<readonly { readonly name: string; readonly port: number }[]>;
  /** Each record as the strings that it is made of. */
  txt(name: string): Promise<readonly (readonly string[])[]>;
  /** Addresses of version 4, or else 6. */
  addresses(name: string): Promise<readonly string[]>;
}

/** What reading a directory from DNS needs. */
export interface DnsSourceOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly resolver: DnsResolver;
  /** Between two readings, in milliseconds. Default 30,000. */
  readonly everyMs?: number;
}

/** Places that are read of one name; DNS is no database. */
const maxPlaces = 1000;
/** Questions at one time. */
const maxQuestions = 16;
/** The longest TXT record that is taken for an entry, in characters. */
const maxTextLength = 16_384;

const nothingThere: ReadonlySet<string> = new Set(["ENODATA", "ENOTFOUND"]);

function codeOf(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "it cannot be read";
}

function unreadable(name: string, cause: unknown): LongshoreError {
  if (LongshoreError.is(cause)) return cause;
  return new LongshoreError("unreachable", "resolve", `${name} cannot be read: ${codeOf(cause)}`, { cause });
}

/** Asks the machine's DNS servers, or others (`127.0.0.1:5353`). */
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

/** The name that is asked for: `example.com` stands for `_longshore._tcp.example.com`. */
function serviceOf(domain: string): string {
  const name = domain.startsWith("_") ? domain : `_longshore._tcp.${domain}`;
  if (name.length <= 253 && /^(_?[A-Za-z0-9-]{1,62}\.)+[A-Za-z0-9-]{1,63}$/.test(name)) return name;
  throw new LongshoreError("invalid-configuration", "resolve", `'${domain.slice(0, 100)}' is no name of DNS`);
}

/** The operator's signed entry in one of the TXT records of a place; undefined where there is none. */
function entryIn(records: readonly (readonly string[])[]): Json | undefined {
  for (const strings of records) {
    const text = strings.join("");
    if (!text.startsWith("{") || text.length > maxTextLength) continue;
    try {
      return JSON.parse(text) as Json;
    } catch {
      // Something else's record.
    }
  }
  return undefined;
}

/** Runs `work` over items, a few at a time, in their order. */
async function eachOf<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<readonly R[]> {
  const done: R[] = [];
  for (let at = 0; at < items.length; at += maxQuestions) {
    done.push(...(await Promise.all(items.slice(at, at + maxQuestions).map(work))));
  }
  return done;
}

interface DnsTarget {
  readonly name: string;
  readonly port: number;
}

/** What DNS says of a target. */
interface DnsPlace {
  readonly target: DnsTarget;
  readonly entry: Json | undefined;
  /** Of an address where it has one, else of its name. */
  readonly host: string;
}

/** @param before The host as which it was known before: of several addresses that one stays, in whatever order they come. */
async function placeAt(
  target: DnsTarget,
  before: string | undefined,
  encrypted: boolean,
  resolver: DnsResolver,
): Promise<DnsPlace> {
  const { name } = target;
  const entry = await resolver.txt(`_longshore.${name}`).then(entryIn, (thrown: unknown) => {
    if (nothingThere.has(codeOf(thrown))) return undefined;
    throw thrown;
  });
  // A certificate is for the name; without one the address spares whoever dials another question.
  const addresses = encrypted ? [] : await resolver.addresses(name);
  const hosts = addresses.map((address) => (address.includes(":") ? `[${address}]` : address));
  const [first = name] = hosts;
  return { target, entry, host: hosts.find((host) => host === before) ?? first };
}

/** The record of a place. */
function recordOf({ target: { name, port }, entry, host }: DnsPlace, encrypted: boolean): Json {
  const plain = {
    schemaVersion: 1,
    id: `${name}:${port}`,
    serial: 1,
    notBeforeMs: 0,
    notAfterMs: 253_402_300_799_999,
    tier: "edge",
    zone: "unknown",
    trust: "listed",
  };
  const told = { address: `${encrypted ? "https" : "http"}://${host}:${port}` };
  return { signed: entry ?? { body: plain }, statement: told };
}

/**
 * A directory in DNS: SRV records of `_longshore._tcp.DOMAIN` (`_longshore-tls._tcp` for https) say where places are, and a
 * TXT record of `_longshore.TARGET` holds the operator's entry as JSON. A place without one is `listed`, in no known zone.
 * A name that is not there is taken for a failure, since resolvers that are cut off say that too; that there is no place is
 * said by the target `.` (RFC 2782).
 */
export function dnsSource(domain: string, options: DnsSourceOptions): RecordSource {
  const { clock, random, resolver, everyMs = 30_000 } = options;
  const service = serviceOf(domain);
  const encrypted = service.startsWith("_longshore-tls.");
  let known: ReadonlyMap<string, string> = new Map();
  const read = async (): Promise<readonly Json[]> => {
    const targets = (await resolver.srv(service)).filter(({ name }) => name !== "" && name !== ".");
    if (targets.length > maxPlaces) {
      throw new LongshoreError("memory-limit", "resolve", `${service} has more than ${maxPlaces} places`);
    }
    const places = await eachOf(targets, (target) =>
      placeAt(target, known.get(target.name), encrypted, resolver).catch((thrown: unknown) => {
        throw unreadable(target.name, thrown);
      }),
    );
    known = new Map(places.map(({ target: { name }, host }) => [name, host]));
    return places.map((place) => recordOf(place, encrypted));
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
