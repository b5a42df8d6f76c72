import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import type { Clock, EndpointInfo } from "@longshore/core";

/** For how long an address of a name is used before it is looked up again, in milliseconds. */
const holdMs = 30_000;
/** Names that are remembered. */
const mostNames = 10_000;

/** Where an endpoint listens, as its address says. Undefined for one that no proxy can reach. */
export function hostAndPort(
  info: Pick<EndpointInfo, "address">,
): { readonly host: string; readonly port: number; readonly tls: boolean } | undefined {
  const { address } = info;
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

/** `host:port`, of an IPv6 address with brackets. */
export function joined(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Addresses of endpoints as a proxy takes them: an IP address and a port. */
export interface Addresses {
  /** Undefined where the endpoint has none, or its name has no address. */
  of(info: EndpointInfo): Promise<string | undefined>;
}

/** How a name is looked up; the first address counts. Throws where it has none. */
export type LookUp = (name: string) => Promise<string>;

const systemLookUp: LookUp = async (name) => (await lookup(name, { family: 4 })).address;

/** Looks names up when they are used and every half minute again; a name that cannot be looked up keeps its last address. */
export function createAddresses(clock: Clock, lookUp: LookUp = systemLookUp): Addresses {
  const names = new Map<string, { address: string | undefined; atMs: number }>();
  const ask = async (name: string): Promise<string | undefined> => {
    const before = names.get(name);
    const kept = { address: before?.address, atMs: clock.nowMs() };
    names.set(name, kept);
    if (names.size > mostNames) names.delete(names.keys().next().value ?? "");
    try {
      kept.address = await lookUp(name);
    } catch {
      // The next request resolves again after a while; until then the last address stays, or none.
    }
    return kept.address;
  };
  return {
    async of(info) {
      const found = hostAndPort(info);
      if (!found) return undefined;
      const { host, port } = found;
      if (isIP(host) !== 0) return joined(host, port);
      const known = names.get(host);
      if (known?.address === undefined) {
        const address = await ask(host);
        return address === undefined ? undefined : joined(address, port);
      }
      // No request waits for a repeated look-up.
      if (clock.nowMs() - known.atMs > holdMs) void ask(host);
      return joined(known.address, port);
    },
  };
}
