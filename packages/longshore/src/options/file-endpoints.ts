import type { Tier } from "@longshore/core";
import type { ServerOptions } from "../connect/server-options.ts";
import { shownOf } from "./connection-options.ts";

/** An entry of `endpoints` in the file, as its schema has it. */
export interface FileEndpoint {
  readonly address: string;
  readonly id?: string;
  readonly tier?: Tier;
  readonly zone?: string;
  readonly trust?: NonNullable<ServerOptions["trust"]>;
  readonly kind?: NonNullable<ServerOptions["kind"]>;
  readonly settings?: ServerOptions["settings"];
  readonly tenants?: boolean;
  readonly metrics?: string;
  readonly grpc?: string;
  readonly key?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly certKey?: string;
  readonly overPlainHttp?: boolean;
  readonly activeWatts?: number;
  readonly prices?: {
    readonly perSecond?: number;
    readonly perRequest?: number;
    readonly perMegabyte?: number;
    readonly perMegabyteIn?: number;
    readonly perMegabyteOut?: number;
    readonly perJoule?: number;
  };
}

/** `perSecond` as `microsPerSecond`. */
function ratesOf(prices: FileEndpoint["prices"]): Partial<ServerOptions> {
  return Object.fromEntries(
    Object.entries(prices ?? {}).map(([key, value]) => [`microsP${key.slice(1)}`, value]),
  );
}

/** The servers of the file, with the files that they name read. Throws `invalid-input` for a file that cannot be read. */
export function serversOfFile(endpoints: readonly FileEndpoint[]): Promise<readonly ServerOptions[]> {
  return Promise.all(
    endpoints.map(
      async ({ key, ca, cert, certKey, overPlainHttp, prices, tenants, zone, trust, ...endpoint }) => ({
        ...endpoint,
        ...ratesOf(prices),
        zone: zone ?? "unknown",
        trust: trust ?? ("listed" as const),
        forwardsTenants: tenants ?? false,
        ...(await shownOf("at", {
          ...(key === undefined ? {} : { atKey: key }),
          ...(ca === undefined ? {} : { atCa: ca }),
          ...(cert === undefined ? {} : { atCert: cert }),
          ...(certKey === undefined ? {} : { atCertKey: certKey }),
          ...(overPlainHttp === undefined ? {} : { atOverPlainHttp: overPlainHttp }),
        })),
      }),
    ),
  );
}
