import type { LongshoreError, Reason } from "../../words/base/index.ts";

/** The endpoint does not have what its offer named. */
const gone: ReadonlySet<Reason> = new Set<Reason>([
  "unknown-model",
  "unknown-version",
  "unknown-variant",
  "unknown-cut",
]);
/** The request or the caller may be at fault as well. */
const refused: ReadonlySet<Reason> = new Set<Reason>(["unsupported", "not-permitted"]);

/**
 * Whether such a failure means that the endpoint does not serve its offer to any caller. A refusal counts only if all callers send the same
 * credentials (`own`), so that one tenant's mistakes take no endpoint from the others. An error that another endpoint reported does not
 * count.
 */
export function disowned({ reason, endpoint }: LongshoreError, own: boolean): boolean {
  if (endpoint !== undefined) return false;
  return gone.has(reason) || (own && refused.has(reason));
}

/** Errors that another endpoint would only repeat: the caller's input is at fault. */
export function final(error: LongshoreError): boolean {
  return error.reason === "invalid-input" || error.reason === "invalid-media";
}
