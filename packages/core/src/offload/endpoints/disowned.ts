import type { LongshoreError, Reason } from "../../words/base/index.ts";

/** What was asked is not at the endpoint that offered it. */
const gone: ReadonlySet<Reason> = new Set<Reason>([
  "unknown-model",
  "unknown-version",
  "unknown-variant",
  "unknown-cut",
]);
/** What may as well be wrong with the request, or with who asks. */
const refused: ReadonlySet<Reason> = new Set<Reason>(["unsupported", "not-permitted"]);

/**
 * Whether an endpoint that fails so does not serve what it offered, to anybody. What it refuses counts only where everybody asks as
 * this caller does (`own`): one tenant's mistakes take no endpoint away from the others. What another one said is
 * none of its doing.
 */
export function disowned({ reason, endpoint }: LongshoreError, own: boolean): boolean {
  if (endpoint !== undefined) return false;
  return gone.has(reason) || (own && refused.has(reason));
}

/** Errors that another endpoint would only repeat: the caller's input is at fault. */
export function final(error: LongshoreError): boolean {
  return error.reason === "invalid-input" || error.reason === "invalid-media";
}
