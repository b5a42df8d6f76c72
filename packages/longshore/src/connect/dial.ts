import { crc32 } from "node:zlib";
import {
  type Clock,
  type CodecSet,
  type Credentials,
  type Endpoint,
  type EndpointInfo,
  type LinkLearner,
  LongshoreError,
  type Observer,
  oipEndpoint,
  type Random,
  type Tier,
  type TrustLevel,
  type ZoneId,
} from "@longshore/core";
import type { StatedRates } from "@longshore/core/internal";
import { type LinkHint, ratesOf } from "@longshore/core/internal";
import { grpcTransport } from "@longshore/grpc";
import { httpTransport } from "@longshore/nodejs";
import { addressOn } from "./address-on.ts";
import { platformCodecs } from "../engine/codecs.ts";
import { loadOf } from "./foreign-load.ts";
import { type ServerTls, transportShown } from "./server-tls.ts";

/**
 * A server that an app or an operator names. The operator's statements are the widest that the endpoint can be; the prices are
 * the least that a request to it costs. Without any price its cost is unknown: within no `maxCostMicros`, and last where cost
 * is minimised.
 */
export interface ServerOptions extends StatedRates {
  /** `http://host:port`. */
  readonly address: string;
  /** Default: the address without its scheme. */
  readonly id?: string;
  /** Default `edge`. */
  readonly tier?: Tier;
  /** Where it processes; default `unknown`, which lies in no allowed zone as soon as a call names zones. */
  readonly zone?: ZoneId;
  /** Default `listed`: its address was written down by a person. */
  readonly trust?: Exclude<TrustLevel, "attested">;
  /** Default `longshore`; `oip` for Triton, KServe and other servers of the plain protocol, `json` without binary tensors. */
  readonly kind?: "longshore" | "oip" | "json";
  /**
   * The models that it serves, and their names there. Default: all that it offers. A server of the plain protocol stands in for
   * a model that is elsewhere, too, only if that is listed here.
   */
  readonly serves?: EndpointInfo["serves"];
  /** The credentials that this endpoint shows the server, and no other. Default: none. */
  readonly credentials?: Credentials;
  /** For `https`: whose servers are believed, and this endpoint's own certificate. Default: the platform's authorities. */
  readonly tls?: ServerTls;
  /**
   * Where a server of the plain protocol shows metrics, from which its load is read about once a second while it is used: an
   * address such as `http://host:8002/metrics`, `:8002` for a port of its host, or `none`. Default: `/metrics` of its own address and, where that names a
   * port, of the port after the next, as Triton and MLServer have it.
   */
  readonly metrics?: string;
  /**
   * Where a server of the plain protocol speaks gRPC: an address such as `http://host:8001`, or `:8001` for a port of its host.
   * Models that answer a request several times are called there, and described the same as over HTTP. Default: nowhere, and
   * such models are not used.
   */
  readonly grpc?: string;
  /**
   * Tell the server the tenant of each request, if it lets this endpoint speak for its tenants. Default false: all forwarded
   * requests count as this endpoint's own there.
   */
  readonly forwardsTenants?: boolean;
  /**
   * The belief about the link before the first bytes, or false for none. Default: the facts that this machine's system reports.
   * Either way measurements replace it.
   */
  readonly link?: LinkHint | false;
}

/** The address of gRPC, where it is the port of a host or an address of its own. */
function grpcAddressOf({ address, grpc, kind = "longshore" }: ServerOptions): string | undefined {
  if (grpc === undefined) return undefined;
  if (kind === "longshore") {
    const why = "servers of kind longshore answer several times over HTTP: leave out where they speak gRPC";
    throw new LongshoreError("invalid-configuration", "resolve", why);
  }
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

/** The endpoint information that follows from what is said of a server. */
export function serverInfo(server: string | ServerOptions): EndpointInfo {
  const options = typeof server === "string" ? { address: server } : server;
  const grpcAddress = grpcAddressOf(options);
  // A program without types may still pass it.
  if ((options.trust as string | undefined) === "attested") {
    const why = `server ${options.address}: trust is 'attested', which nothing here verifies; an operator may state none, listed, operated or vouched`;
    throw new LongshoreError("invalid-configuration", "resolve", why);
  }
  return {
    id: options.id ?? options.address.replace(/^https?:\/\//, ""),
    tier: options.tier ?? "edge",
    zone: options.zone ?? "unknown",
    trust: options.trust ?? "listed",
    address: options.address,
    ...(grpcAddress === undefined ? {} : { grpcAddress }),
    ...(options.serves ? { serves: options.serves } : {}),
    codecs: (options.kind ?? "longshore") === "longshore" ? [...platformCodecs().keys()] : [],
    state: (options.kind ?? "longshore") === "longshore" ? "movable" : "resident",
    offers: (options.kind ?? "longshore") === "longshore",
    kind: options.kind ?? "longshore",
    rates: ratesOf(options, `server ${options.address}`),
  };
}

/** The parts that dialling needs besides the information. */
export interface DialParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  readonly link?: LinkLearner;
  /** Codecs of this platform, shared by all endpoints. Default: a set of its own. */
  readonly codecs?: CodecSet;
}

/** How a server is dialled, of what is said of it. */
export type DialOptions = Pick<ServerOptions, "credentials" | "tls" | "forwardsTenants" | "metrics" | "link">;

/**
 * An endpoint that speaks the protocol to a server, over HTTP but for what only gRPC has. Where HTTP is encrypted and gRPC
 * would not be, gRPC is not used. Closing it closes its connections.
 */
export function dial(info: EndpointInfo, parts: DialParts, options: DialOptions = {}): Endpoint {
  const { forwardsTenants } = options;
  const open = info.grpcAddress?.startsWith("http:") === true && info.address?.startsWith("https:") === true;
  const grpcAddress = open ? undefined : info.grpcAddress;
  const shown = transportShown(options);
  const load = info.offers ? undefined : loadOf(info.address ?? "", parts.clock, options);
  return oipEndpoint({
    info,
    transport: httpTransport({ address: info.address ?? "", clock: parts.clock, ...shown }),
    ...(grpcAddress === undefined
      ? {}
      : { streams: grpcTransport({ address: grpcAddress, clock: parts.clock, ...shown }) }),
    codecs: parts.codecs ?? platformCodecs(),
    crc32,
    clock: parts.clock,
    random: parts.random,
    observer: parts.observer,
    ...(parts.link ? { link: parts.link } : {}),
    ...(load ? { load } : {}),
    ...(info.kind === "json" ? { wire: "json" as const } : {}),
    ...(forwardsTenants === undefined ? {} : { forwardsTenants }),
  });
}
