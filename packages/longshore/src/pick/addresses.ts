import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { Clock, EndpointInfo } from "@longshore/core";

/** The addresses of an endpoint. */
type Located = Pick<EndpointInfo, "address" | "grpcAddress">;

/** For how long an address of a name is used before it is looked up again, in milliseconds. */
const holdMs = 30_000;
/** How often names are gone through, in milliseconds. */
const renewMs = 1000;
/** Names that are remembered. */
const mostNames = 10_000;

/** Where a server listens. */
export interface HostAndPort {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

/** Where an endpoint listens, as its address says. Undefined for one that no proxy can reach. */
export function hostAndPort({ address }: Pick<EndpointInfo, "address">): HostAndPort | undefined {
  if (address === undefined || !URL.canParse(address)) return undefined;
  const { protocol, hostname, port } = new URL(address);
  if (protocol !== "http:" && protocol !== "https:") return undefined;
  const tls = protocol === "https:";
  return {
    host: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: port === "" ? (tls ? 443 : 80) : Number(port),
    tls,
  };
}

/** Where an endpoint speaks gRPC: its own `grpcAddress`, else `port` of its host. Undefined if neither is known. */
export function grpcHostAndPort(info: Located, port: number | undefined): HostAndPort | undefined {
  if (info.grpcAddress !== undefined) return hostAndPort({ address: info.grpcAddress });
  const at = port === undefined ? undefined : hostAndPort(info);
  return at && port !== undefined ? { ...at, port } : undefined;
}

/** `host:port`, of an IPv6 address with brackets. */
export function joined(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Addresses of endpoints as a proxy takes them: an IP address and a port. */
export interface Addresses {
  /**
   * The address as it is known now. Undefined where the endpoint has none, and while its name is looked up or has no address: `changes`
   * tells when to ask again.
   */
  of(info: Located): string | undefined;
  /** Counts changes of addresses. */
  readonly changes: number;
  /** Resolves when names that are looked up for the first time have been; undefined if there are none. */
  readonly coming: Promise<unknown> | undefined;
  /** Looks names up again that were looked up long ago. Cheap: call it with each request. */
  renew(): void;
}

/** How a name is looked up; the first address counts. Throws where it has none. */
export type LookUp = (name: string) => Promise<string>;

export const systemLookUp: LookUp = async (name) => (await lookup(name, { family: 4 })).address;

interface Name {
  address: string | undefined;
  atMs: number;
}

/**
 * Looks names up when they are used and every half minute again; a name that cannot be looked up keeps its last address.
 *
 * @param locate Where an endpoint listens. Default: as its address says.
 */
export function createAddresses(
  clock: Clock,
  lookUp: LookUp = systemLookUp,
  locate: (info: Located) => HostAndPort | undefined = hostAndPort,
): Addresses {
  const names = new Map<string, Name>();
  /** First look-ups under way. */
  const coming = new Map<string, Promise<void>>();
  /** Host and port of each endpoint; the host of a numeric address is kept with its port. */
  const read = new WeakMap<
    Located,
    { readonly whole?: string; readonly host: string; readonly port: number } | "none"
  >();
  let changes = 0;
  let renewedMs = clock.nowMs();

  const ask = async (name: string, kept: Name): Promise<void> => {
    kept.atMs = clock.nowMs();
    try {
      const address = await lookUp(name);
      if (address !== kept.address) changes++;
      kept.address = address;
    } catch {
      // It is looked up again after a while; until then the last address stays, or none.
    }
  };

  const begin = (host: string): Name => {
    const kept: Name = { address: undefined, atMs: clock.nowMs() };
    names.set(host, kept);
    if (names.size > mostNames) names.delete(names.keys().next().value ?? "");
    coming.set(
      host,
      ask(host, kept).finally(() => coming.delete(host)),
    );
    return kept;
  };

  return {
    get changes() {
      return changes;
    },
    get coming() {
      return coming.size === 0 ? undefined : Promise.all(coming.values());
    },
    of(info) {
      let found = read.get(info);
      if (found === undefined) {
        const at = locate(info);
        found = !at ? "none" : isIP(at.host) !== 0 ? { ...at, whole: joined(at.host, at.port) } : at;
        read.set(info, found);
      }
      if (found === "none") return undefined;
      if (found.whole !== undefined) return found.whole;
      const { address } = names.get(found.host) ?? begin(found.host);
      return address === undefined ? undefined : joined(address, found.port);
    },
    renew() {
      const nowMs = clock.nowMs();
      if (nowMs - renewedMs < renewMs) return;
      renewedMs = nowMs;
      for (const [name, kept] of names) {
        if (nowMs - kept.atMs > (kept.address === undefined ? renewMs : holdMs)) void ask(name, kept);
      }
    },
  };
}
