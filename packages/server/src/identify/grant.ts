import type { WireRequest } from "@longshore/core";
import type { Right } from "./identity.ts";

/** The rights that a good credential gives its holder. */
export interface Grant {
  /** The holder's name for the operator's log: a key's id, a token's subject, a certificate's name. */
  readonly name: string;
  readonly tenant: string;
  readonly rights: ReadonlySet<Right>;
  /** Tenants that it may speak for. Undefined: only its own. */
  readonly speaksFor?: "*" | readonly string[];
  /** False for a sender without credentials. */
  readonly known?: boolean;
}

/** The mechanisms of identification, as `identity.yaml` names them. */
export type MechanismName = "certificates" | "tokens" | "keys" | "loopback" | "anonymous";

/**
 * One mechanism of identification. Gives undefined when the request shows nothing of its kind. Throws `unauthenticated` for what
 * is shown and not good, and `not-permitted` for what is good and named nowhere.
 */
export type Mechanism = (
  request: WireRequest,
  shown: ShownCredentials,
) => Grant | undefined | Promise<Grant | undefined>;

/** The credentials in the headers of a request. */
export interface ShownCredentials {
  readonly apiKey?: string;
  readonly token?: string;
}
