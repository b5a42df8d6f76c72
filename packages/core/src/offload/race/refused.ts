import { type Call, type EndpointId, LongshoreError } from "../../words/base/index.ts";
import type { KnownModel } from "../models/index.ts";
import { type EndpointStates, ranOf } from "../endpoints/index.ts";
import { type Infeasible, noEndpoint } from "../../decide/plan/index.ts";

/** The sender and the model of a request. */
interface Asking {
  readonly known: KnownModel;
  readonly call: Call;
}

/** Paused endpoints that have the model, those whose pause ends first coming first, with the remaining milliseconds. */
export function pausesOf(
  endpoints: Pick<EndpointStates, "all" | "runs">,
  { known, call }: Asking,
  nowMs: number,
): readonly { readonly id: EndpointId; readonly leftMs: number }[] {
  const of = ranOf(known.description);
  const paused: { readonly id: EndpointId; readonly leftMs: number }[] = [];
  for (const id of known.offersBy.keys()) {
    const endpoint = endpoints.all.get(id);
    if (!endpoint || endpoint.health.distrusted !== undefined) continue;
    const leftMs = endpoints.runs.pausedUntilMs(endpoint, of, call.tenant) - nowMs;
    if (leftMs > 0) paused.push({ id, leftMs: Math.ceil(leftMs) });
  }
  return paused.sort((one, other) => one.leftMs - other.leftMs);
}

/** When to ask again for endpoints that have not said yet what they offer, in milliseconds. */
const againMs = 1000;
/** Endpoints that an error names. */
const mostNamed = 3;

/** The error of a decision without an endpoint, where these may take the request once they say what they offer: `no-endpoint`, retryable. */
export function awaitingOffers(plan: Infeasible, may: readonly EndpointId[]): LongshoreError {
  const named = may.slice(0, mostNamed).join(", ");
  const message = `${plan.because}; the rules let it go to ${named}, which did not say yet what it offers`;
  return new LongshoreError("no-endpoint", "plan", message, { retryAfterMs: againMs });
}

/** The error of a decision that rules leave without an endpoint while the directory is settling: `starting`, retryable. */
export function notNamedYet(plan: Infeasible): LongshoreError {
  const message = `${plan.because}; servers may be missing, since the directory has just started`;
  return new LongshoreError("starting", "plan", message, { retryAfterMs: againMs });
}

/** The same where endpoints may take the request once servers behind them can be reached. */
export function notReachedYet(plan: Infeasible, may: readonly EndpointId[]): LongshoreError {
  const named = may.slice(0, mostNamed).join(", ");
  const message = `${plan.because}; ${named} may take it later: a server behind it has not described this model yet, or is paused`;
  return new LongshoreError("starting", "plan", message, { retryAfterMs: againMs });
}

/** Whether a decision failed with the error of `notNamedYet` or `notReachedYet`. */
export function isNotNamedYet(thrown: unknown): boolean {
  return LongshoreError.is(thrown) && thrown.reason === "starting" && thrown.stage === "plan";
}

/** Whether a decision failed since rules keep the request from all endpoints. */
export function isDenied(thrown: unknown): boolean {
  return LongshoreError.is(thrown) && thrown.reason === "policy-denied";
}

/**
 * The error of a decision without an endpoint. With `leftMs`, one is available again after that time: the error is `no-endpoint` and
 * retryable.
 */
export function refused(plan: Infeasible, leftMs: number | undefined): LongshoreError {
  const error = noEndpoint(plan);
  if (leftMs === undefined) return error;
  return new LongshoreError("no-endpoint", error.stage, error.message, { retryAfterMs: leftMs });
}
