import type { Endpoint, EndpointInfo } from "@longshore/core";
import type { DialOptions, DialParts, ServerOptions } from "../server-options.ts";

/**
 * **The seam** of servers of other makes: one value for each protocol. All that a server can be asked - models, offers, load - is in the
 * `Endpoint` that its kind dials.
 */
export interface EndpointKind {
  /** The name in settings and in entries of a directory: lower-case letters, digits and `-`. */
  readonly kind: string;
  /** Products that it is for, as `Triton and KServe`. Absent: it is for Longshore's own servers. */
  readonly products?: string;
  /**
   * Checks the settings that only this kind reads, and gives what they say of the endpoint. Throws `invalid-configuration`.
   * Absent: it has no settings of its own.
   */
  readonly read?: (server: ServerOptions) => Partial<EndpointInfo>;
  /** Makes the endpoint, without waiting. Closing it closes its connections. */
  readonly dial: (info: EndpointInfo, parts: DialParts, options: DialOptions) => Endpoint;
}
