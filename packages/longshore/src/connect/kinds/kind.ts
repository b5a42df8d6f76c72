import type { Endpoint, EndpointInfo } from "@longshore/core";
import type { ObjectSchema } from "../../settings/schema.ts";
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
  /** Describes `settings` of an endpoint of this kind, which are checked before it is dialled. Absent: there are none. */
  readonly settings?: ObjectSchema;
  /**
   * Reads the options of a server that only some kinds have, such as `grpc`, and returns the members of the endpoint's information that
   * follow from them. Throws `invalid-configuration`. Absent: no member follows.
   */
  readonly read?: (server: ServerOptions) => Partial<EndpointInfo>;
  /** Makes the endpoint, without waiting. Closing it closes its connections. */
  readonly dial: (info: EndpointInfo, parts: DialParts, options: DialOptions) => Endpoint;
}
