import { type Clock, type Credentials, LongshoreError } from "@longshore/core";
import { type LoadSource, metricsLoad, type MetricsPage } from "@longshore/core/internal";
import { httpTransport } from "@longshore/nodejs";
import { addressOn } from "./address-on.ts";
import { type ServerTls, transportTls } from "./server-tls.ts";

/** Where the metrics of a server are, and what it is shown. */
export interface ForeignLoadOptions {
  /** An address, `:port` or `:port/path` of the server's host, or `none`. */
  readonly metrics?: string;
  readonly credentials?: Credentials;
  readonly tls?: ServerTls;
}

/** Servers that keep metrics on a port of their own have them there, counted from the port of inference over HTTP. */
const portsAfter = 2;
const metricsPath = "/metrics";

/** Addresses where a server's metrics may be, the likeliest first. */
function addressesOf(address: string, metrics: string | undefined): readonly URL[] {
  if (metrics !== undefined) {
    const url = addressOn(address, metrics);
    if (!url) {
      throw new LongshoreError(
        "invalid-configuration",
        "resolve",
        `'${metrics}' is not where a server shows metrics: give none, :8002 or http://host:8002/metrics`,
      );
    }
    if (url.pathname === "/") url.pathname = metricsPath;
    return [url];
  }
  if (!URL.canParse(address)) return [];
  const own = new URL(metricsPath, address);
  const after = new URL(own);
  after.port = String(Number(own.port) + portsAfter);
  return own.port === "" || Number(own.port) + portsAfter > 65_535 ? [own] : [own, after];
}

/** Reads the load of a server of the plain protocol from its metrics; undefined where that is not wanted. */
export function loadOf(
  address: string,
  clock: Clock,
  { credentials, tls, metrics }: ForeignLoadOptions,
): LoadSource | undefined {
  if (metrics === "none") return undefined;
  const origin = URL.canParse(address) ? new URL(address).origin : "";
  const pages = addressesOf(address, metrics).map((url): MetricsPage => {
    const own = url.origin === origin;
    return {
      path: `${url.pathname}${url.search}`,
      transport: httpTransport({
        address: url.origin,
        clock,
        connectTimeoutMs: 1000,
        maxConnections: 1,
        // The server's credentials go to no other port: neither credentials nor a certificate.
        ...(own && credentials ? { credentials } : {}),
        ...(tls
          ? { tls: own ? transportTls(tls) : { ca: tls.authorities, servername: tls.serverName } }
          : {}),
      }),
    };
  });
  return pages.length === 0 ? undefined : metricsLoad({ clock, pages });
}
