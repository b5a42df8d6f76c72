import { type Clock, LongshoreError, type WireRequest } from "@longshore/core";
import { sourceOf } from "@longshore/core/internal";
import { statedTenant } from "./stated-tenant.ts";
import { certificateMechanism } from "./certificate.ts";
import type { IdentityConfiguration } from "./configuration.ts";
import type { ReadKeySet } from "./discovery.ts";
import type { Grant, Mechanism, MechanismName } from "./grant.ts";
import type { Identify } from "./identity.ts";
import { createKeyRing, type ApiKeyRing } from "./key-ring.ts";
import { fromThisMachine } from "./loopback.ts";
import { badCredential } from "./refusal.ts";
import { rightSet } from "./schema.ts";
import { shownCredentials } from "./shown.ts";
import { identityOf, tenantsOf } from "./tenants.ts";
import { createThrottle } from "./throttle.ts";
import { tokenMechanism } from "./token.ts";

/** The parts of identity besides its configuration. */
export interface IdentifyParts {
  readonly configuration: IdentityConfiguration;
  readonly clock: Clock;
  /** Reads a token issuer's key set from an address or file, within limits of size and time. */
  readonly loadKeySet: ReadKeySet;
  /** Gets a line for what the operator should know. Never a credential. */
  readonly report: (text: string) => void;
  /** SHA-256 of a text, as any text. Default: WebCrypto's. */
  readonly digest?: (text: string) => string | Promise<string>;
}

/** Identity, and the keys that change while it runs. */
export interface Identification {
  readonly identify: Identify;
  /** Empty until it is filled: no key is good before. */
  readonly keys: ApiKeyRing;
}

/** Failed credentials of one source in a minute, before it has to wait. */
const defaultFailures = 30;

/**
 * The grant of a sender without credentials where they are required: of no tenant, without a right, and told to send
 * credentials.
 */
const nobody: Grant = { name: "nobody", tenant: "anonymous", rights: new Set(), known: false };

function mechanisms(
  { configuration, clock, loadKeySet, report, digest }: IdentifyParts,
  keys: ApiKeyRing,
  before: (request: WireRequest) => void,
): Readonly<Record<MechanismName, Mechanism>> {
  const { certificates, tokens, loopback, anonymous } = configuration;
  const tokenGrant = tokenMechanism(tokens ?? [], { clock, loadKeySet, report, digest });
  const local: Grant | undefined = loopback && {
    name: "this machine",
    tenant: loopback.tenant ?? "local",
    rights: rightSet(loopback.rights),
  };
  const stranger: Grant | undefined = anonymous && {
    name: "anonymous",
    tenant: anonymous.tenant ?? "anonymous",
    rights: rightSet(anonymous.rights),
    known: false,
  };
  return {
    certificates: certificateMechanism(certificates ?? []),
    tokens: (request, { token }) =>
      token === undefined ? undefined : tokenGrant(token, () => before(request)),
    keys: keys.identify,
    loopback: (request) => (fromThisMachine(request) ? local : undefined),
    anonymous: () => stranger,
  };
}

/**
 * Identifies the sender by all configured mechanisms. Every credential of a request has to be good, of configured mechanisms
 * and of others: a request with a bad one is refused even if it could do without. Of several good ones the first in the
 * configured order names the sender. A sender without credentials gets an identity without rights; the gate tells it what is
 * missing.
 */
export function createIdentify(parts: IdentifyParts): Identification {
  const { configuration, clock } = parts;
  const keys = createKeyRing(clock);
  const throttle = createThrottle(clock, configuration.failuresPerMinute ?? defaultFailures);
  const tenants = tenantsOf(configuration.tenants);
  const source = ({ peer }: WireRequest): string => sourceOf(peer?.address ?? "");
  const by = mechanisms(parts, keys, (request) => throttle.check(source(request)));
  const ordered = configuration.order.map((name) => by[name]);
  const has = (name: MechanismName): boolean => configuration.order.includes(name);

  const grantOf = async (request: WireRequest): Promise<Grant> => {
    const shown = shownCredentials(request);
    if (shown.apiKey !== undefined && !has("keys")) throw badCredential("API key", "keys are not configured");
    if (shown.token !== undefined && !has("tokens"))
      throw badCredential("token", "tokens are not configured");
    let first: Grant | undefined;
    for (const mechanism of ordered) {
      const grant = await mechanism(request, shown);
      first ??= grant;
    }
    return first ?? nobody;
  };

  /** The error for a failed sender: after too many failures only that it has to wait. */
  const failed = (request: WireRequest, thrown: unknown): unknown => {
    if (!LongshoreError.is(thrown) || thrown.reason !== "unauthenticated") return thrown;
    try {
      throttle.check(source(request));
    } catch (wait) {
      return wait;
    }
    throttle.failed(source(request));
    return thrown;
  };

  return {
    keys,
    async identify(request) {
      let grant: Grant;
      try {
        grant = await grantOf(request);
      } catch (thrown) {
        throw failed(request, thrown);
      }
      if (grant === nobody) return { tenant: nobody.tenant, rights: nobody.rights, known: false };
      const behalf = statedTenant(request, grant, tenants);
      return identityOf(grant, tenants, behalf.tenant, behalf.rights);
    },
  };
}
