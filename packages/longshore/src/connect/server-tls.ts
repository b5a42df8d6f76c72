import type { Credentials } from "@longshore/core";
import type { HttpTransportOptions } from "@longshore/nodejs";

/** Texts in PEM. */
export interface ServerTls {
  readonly authorities?: string;
  readonly certificate?: string;
  readonly key?: string;
  /** Name in the server's certificate, where it is not the address's host. */
  readonly serverName?: string;
}

/** The same in the words of Node.js. */
export function transportTls(tls: ServerTls): NonNullable<HttpTransportOptions["tls"]> {
  return { ca: tls.authorities, cert: tls.certificate, key: tls.key, servername: tls.serverName };
}

/** Credentials and authorities for a server, in the words of the transports. */
export function transportShown({
  credentials,
  tls,
}: {
  readonly credentials?: Credentials | undefined;
  readonly tls?: ServerTls | undefined;
}): Pick<HttpTransportOptions, "credentials" | "tls"> {
  return { ...(credentials ? { credentials } : {}), ...(tls ? { tls: transportTls(tls) } : {}) };
}
