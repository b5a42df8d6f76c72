import { LongshoreError, type TenantId, type WireRequest } from "@longshore/core";

/** A right at a server. */
export type Right =
  /** Metadata, whole models and their variants, offers, sequences. */
  | "infer"
  /** Parts of models: the tensors at a cut can reveal weights and inputs of other tenants. */
  | "segment:infer"
  /** The heads of models as files. */
  | "head:read"
  /** Whole models as files. */
  | "model:read"
  /** Which endpoints there are. */
  | "directory:read"
  /** Being one of them. */
  | "directory:join"
  /** Loading, unloading, the repository's index, settings of logs and traces, shared memory. */
  | "manage"
  /** Counters of all models and tenants. */
  | "observe";

/** All rights, in the order in which they are listed. */
export const allRights: readonly Right[] = [
  "infer",
  "segment:infer",
  "head:read",
  "model:read",
  "directory:read",
  "directory:join",
  "manage",
  "observe",
];

/** The sender of a request, and its rights. */
export interface Identity {
  readonly tenant: TenantId;
  readonly rights: ReadonlySet<Right>;
  /** False for a sender without credentials: it could gain a missing right by sending some. Default true. */
  readonly known?: boolean;
  /** Tells whether a model is there for this sender. Undefined: all are. */
  readonly sees?: (model: string) => boolean;
}

/**
 * Identifies the sender of a request, from its peer and headers, before any other work on it. Throws `unauthenticated` for bad
 * credentials, `not-permitted` for a sender without any right, and `rejected` for sources that failed too often.
 */
export type Identify = (request: WireRequest) => Identity | Promise<Identity>;

/** Throws unless the identity has the right: `unauthenticated` for an unknown sender, else `not-permitted`. */
export function demandRight(identity: Identity, right: Right): void {
  if (identity.rights.has(right)) return;
  if (identity.known === false) {
    throw new LongshoreError("unauthenticated", "identify", "this needs credentials, and there are none");
  }
  throw new LongshoreError(
    "not-permitted",
    "identify",
    `this sender does not have the right '${right}' here`,
  );
}
