import { type EndpointId, LongshoreError } from "../../words/base/index.ts";
import { type Endpoint, moveMicros, runMicros } from "../../wire/endpoint/index.ts";
import type { Leg } from "../../decide/plan/index.ts";
import type { Hold, Tally } from "../account/index.ts";
import type { Job, PlanTerms } from "./job.ts";
import type { Loop } from "./loop.ts";
import type { Running } from "./running-leg.ts";

/** Reserves the most that a leg may cost. Undefined without a limit. Call `affords` first. */
export function holdFor({ purse }: PlanTerms, { predicted }: Leg): Hold | undefined {
  return purse?.hold(predicted.mostMicros);
}

/** Whether the limit of the request leaves enough for a leg. */
export function affords({ purse }: PlanTerms, { predicted }: Leg): boolean {
  return purse?.affords(predicted.mostMicros) ?? true;
}

/** The error of a leg that the limit of the request leaves too little for. */
export function overLimit({ purse, limits }: PlanTerms, { endpoint, predicted }: Leg): LongshoreError {
  const what = `a run at ${endpoint} may cost ${predicted.mostMicros} micros; maxCostMicros is ${limits.maxCostMicros ?? 0}, of which ${purse?.leftMicros ?? 0} are left`;
  return new LongshoreError("no-endpoint", "plan", what);
}

/** Records what a run cost: in the tally of its request, out of its reservation, and in the counters by tenant, model and endpoint. */
export function charge(
  { parts, clock }: Pick<Loop, "parts" | "clock">,
  job: Pick<Job, "call" | "known">,
  endpoint: EndpointId,
  micros: number,
  hold: Hold | undefined,
  tally: Tally,
): void {
  const paid = hold ? hold.pay(micros) : micros;
  if (paid === 0) return;
  tally.costMicros += paid;
  const { id: callId, tenant } = job.call;
  const model = job.known.description.name;
  parts.observer.record({
    kind: "cost-charged",
    atMs: clock.nowMs(),
    callId,
    tenant,
    model,
    endpoint,
    micros: paid,
  });
}

/**
 * How long a leg may run before it has cost its reservation, in milliseconds. Only for endpoints without a bound of their own: Longshore
 * servers receive the limit and charge no more.
 */
export function affordableMs({ info }: Endpoint, { mostMicros }: Hold, { predicted }: Leg): number {
  const { rates } = info;
  if (info.offers) return Infinity;
  const microsPerMs = runMicros(rates, 1, rates.activeWatts) - runMicros(rates, 0, 0);
  const fixed = runMicros(rates, 0, 0) + moveMicros(rates, predicted.sentBytes, 0);
  return microsPerMs > 0 ? Math.max(0, mostMicros - fixed) / microsPerMs : Infinity;
}

/** Reasons of endpoints that did not begin to run a request. */
const refusals: ReadonlySet<LongshoreError["reason"]> = new Set([
  "queue-full",
  "rejected",
  "busier",
  "tenant-limit",
  "shutting-down",
  "unreachable",
  "unknown-model",
  "unknown-version",
  "unknown-variant",
  "unknown-cut",
  "policy-denied",
  "not-permitted",
  "unauthenticated",
  "no-endpoint",
  "deadline-past",
]);

/** Whether a failed leg was refused before it ran. */
export function neverRan({ reason }: LongshoreError): boolean {
  return refusals.has(reason);
}

/**
 * Cost of a leg without an answer, because another was first or it failed. No figure is reported, so it counts its expected duration, or
 * the time it was under way if that is longer. A refused leg costs the bytes that the endpoint received.
 */
export function lostMicros(
  { leg, endpoint, startedMs, heardBytes }: Running,
  nowMs: number,
  error?: LongshoreError,
): number {
  const { predicted, travels } = leg;
  if (!endpoint) return error && neverRan(error) ? 0 : predicted.costMicros;
  const { rates } = endpoint.endpoint.info;
  if (error && neverRan(error)) return moveMicros(rates, heardBytes, 0);
  const expectedMs = travels?.promisedMs ?? 0;
  const beyondMs = Math.max(0, nowMs - startedMs - expectedMs);
  const more = runMicros(rates, beyondMs, beyondMs * rates.activeWatts) - runMicros(rates, 0, 0);
  return predicted.costMicros + more;
}
