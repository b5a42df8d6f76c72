import type {
  Clock,
  CodecSet,
  Credentials,
  EndpointInfo,
  LinkLearner,
  Observer,
  Random,
  Tier,
  TrustLevel,
  ZoneId,
} from "@longshore/core";
import type { LinkHint, StatedRates } from "@longshore/core/internal";
import type { ServerTls } from "./server-tls.ts";

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
  /** Name of a kind in `connect/kinds/list.ts`: default `longshore`; `oip` for Triton and KServe, `json` for MLServer. */
  readonly kind?: string;
  /** Settings of the server's kind, as the kind's schema describes them. Default: none. */
  readonly settings?: EndpointInfo["settings"];
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
