import { LongshoreError, oipEndpoint, type OipEndpointParts } from "@longshore/core";
import { grpcTransport } from "@longshore/grpc";
import { addressOn } from "../address-on.ts";
import { loadOf } from "../foreign-load.ts";
import { transportShown } from "../server-tls.ts";
import type { ServerOptions } from "../server-options.ts";
import type { EndpointKind } from "./kind.ts";
import { overHttp } from "./over-http.ts";

/** The address of gRPC, where it is the port of a host or an address of its own. */
function grpcAddressOf({ address, grpc }: ServerOptions): string | undefined {
  if (grpc === undefined) return undefined;
  const found = addressOn(address, grpc);
  if (found?.protocol === "http:" && address.startsWith("https:")) {
    const why = `'${grpc}' is not encrypted, but '${address}' is: requests and credentials could be overheard`;
    throw new LongshoreError("invalid-configuration", "resolve", why);
  }
  if (found && /^\/?$/.test(found.pathname)) return found.origin;
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    `'${grpc}' is not where a server of kind oip or json speaks gRPC: give :8001 or http://host:8001`,
  );
}

/**
 * A kind of servers of the plain protocol: over HTTP, but for what only gRPC has. Where HTTP is encrypted and gRPC would not be, gRPC is not
 * used. Their load is read from their metrics.
 */
export function plainKind(
  kind: string,
  products: string,
  wire: NonNullable<OipEndpointParts["wire"]>,
): EndpointKind {
  return {
    kind,
    products,
    read(server) {
      const grpcAddress = grpcAddressOf(server);
      return grpcAddress === undefined ? {} : { grpcAddress };
    },
    dial(info, parts, options) {
      const { address = "", grpcAddress } = info;
      const { clock } = parts;
      const open = grpcAddress?.startsWith("http:") === true && address.startsWith("https:");
      const load = loadOf(address, clock, options);
      return oipEndpoint({
        ...overHttp(info, parts, options),
        wire,
        ...(grpcAddress === undefined || open
          ? {}
          : { streams: grpcTransport({ address: grpcAddress, clock, ...transportShown(options) }) }),
        ...(load ? { load } : {}),
      });
    },
  };
}

/** Servers of the plain protocol with binary tensors. */
export const oip: EndpointKind = plainKind("oip", "Triton and KServe", "binary");
