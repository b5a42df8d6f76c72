import { LongshoreError, type TenantId, type WireRequest } from "@longshore/core";

/** What somebody may ask of a server. */
export type Right =
  /** Health, metadata, whole models and their variants, offers. */
  | "infer"
  /** Parts of models: what crosses a cut can reveal weights and inputs of others. */
  | "segments"
  /** The heads of models as files. */
  | "heads"
  /** Loading and unloading. */
  | "manage"
  /** Counters of all models and tenants. */
  | "metrics";

/** Who asks, and what they may. */
export interface Identity {
  readonly tenant: TenantId;
  readonly rights: ReadonlySet<Right>;
}

/**
 * Tells who sends a request, from its peer and headers, before anything else is done with it. Throws `not-permitted`
 * for those who may nothing at all.
 */
export type Identify = (request: WireRequest) => Identity | Promise<Identity>;

const everything: ReadonlySet<Right> = new Set<Right>(["infer", "segments", "heads", "manage", "metrics"]);
const inferOnly: ReadonlySet<Right> = new Set<Right>(["infer"]);

/** Headers that only a browser's page or a proxy sends. */
const strangersMarks: readonly string[] = ["origin", "forwarded", "x-forwarded-for", "via"];

const localHost = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?$/;

/**
 * The default while there is no identity: whoever runs on this machine may everything, anybody else may infer whole
 * models. A browser on this machine counts as its web page, not as this machine: a request with an `Origin`, or one
 * under a host name that is not this machine's (DNS rebinding), is a stranger's; so is one that a proxy on this machine
 * passed on.
 */
export function loopbackIdentity(): Identify {
  return (request) => {
    const { headers, peer } = request;
    const local =
      peer?.loopback === true &&
      strangersMarks.every((name) => headers[name] === undefined) &&
      (headers["host"] === undefined || localHost.test(headers["host"]));
    return local ? { tenant: "local", rights: everything } : { tenant: "anonymous", rights: inferOnly };
  };
}

/** Throws `not-permitted` unless the identity has the right. */
export function demandRight(identity: Identity, right: Right): void {
  if (identity.rights.has(right)) return;
  throw new LongshoreError(
    "not-permitted",
    "identify",
    `this sender does not have the right '${right}' here`,
  );
}
