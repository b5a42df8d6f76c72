import type { Clock, Observer, Random } from "../../words/base/index.ts";
import type { CodecSet } from "../../words/codec/index.ts";
import type { LinkLearner } from "../transport/index.ts";
import type { Crc32, WireLimits } from "../protocol/index.ts";
import type { EndpointInfo } from "../endpoint/index.ts";
import type { Transport } from "../transport/index.ts";
import type { LoadSource } from "./load-source.ts";

/** The parts of an endpoint that speaks the Open Inference Protocol. */
export interface OipEndpointParts {
  /** `offers: true` says that the server speaks Longshore's extension; otherwise only plain OIP is sent. */
  readonly info: EndpointInfo;
  /** Owned: closed with the endpoint. */
  readonly transport: Transport;
  /**
   * Takes requests as messages (`WireRequest.message`) and gives any number of replies (`WireResponse.messages`): the way to
   * get several answers from a server of the plain protocol. Owned. Default: each request has one answer there.
   */
  readonly streams?: Transport;
  /** For inputs on the way there. */
  readonly codecs: CodecSet;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  /** Told what was sent, acknowledged and received. */
  readonly link?: LinkLearner;
  /** `json` for servers without the binary tensor extension. Default `binary`. */
  readonly wire?: "binary" | "json";
  /** How often the server shall acknowledge a long body, in bytes. Default: a sixteenth of it, from 8,192 to 65,536; 0 for never. */
  readonly acknowledgeBytes?: number;
  /** Whether to request the account. Default true. */
  readonly account?: boolean;
  /** Tells the load of a server without the extension. Owned. Default: only replies report it, if they do. */
  readonly load?: LoadSource;
  /** Computes checksums of bodies, for servers with the extension. Default: none are stated or requested. */
  readonly crc32?: Crc32;
  /** For replies. */
  readonly limits?: WireLimits;
  /**
   * Tells the server for which tenant each request is. The server must have been configured to let this endpoint speak for
   * them, and refuses otherwise. Default false: all forwarded requests count as this endpoint's own there.
   */
  readonly forwardsTenants?: boolean;
  /** Sent with every request: credentials, gateway routing. Lower-case names. */
  readonly headers?: Readonly<Record<string, string>>;
}
