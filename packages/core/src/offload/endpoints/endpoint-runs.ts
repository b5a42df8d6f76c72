import type { EndpointId, LongshoreError } from "../../words/base/index.ts";
import type { KnownModel } from "../models/index.ts";
import type { EndpointState } from "./endpoint-state.ts";
import { ranOf, type RunFailures, type ServedVersion } from "./run-failures.ts";

/** How runs of model versions went at endpoints, and what follows from it. */
export interface EndpointRuns {
  /** A run was answered there. */
  answered(endpointState: EndpointState, of: ServedVersion, nowMs: number): void;
  /**
   * Records a failure: of a run for that tenant that began then, or of a poll if no run is given, for that version if one is known. An
   * error that names another endpoint is not held against this one.
   */
  failed(
    endpointState: EndpointState,
    of: ServedVersion | undefined,
    error: LongshoreError,
    nowMs: number,
    beganMs: number,
    tenant?: string,
  ): void;
  /** Charge for failed runs of the model at an endpoint, in milliseconds; Infinity while it gets no runs of that tenant. */
  failingMs(known: KnownModel, tenant: string, nowMs: number): (id: EndpointId) => number;
  /**
   * When an endpoint may get requests for that version or tenant again: the endpoint failed, runs of the version failed there, or it
   * refused.
   */
  pausedUntilMs(endpointState: EndpointState, of: ServedVersion | undefined, tenant?: string): number;
  /** Time of the last failure of an endpoint or of runs of that version there; -Infinity for never. */
  downAtMs(endpointState: EndpointState, of: ServedVersion): number;
}

/** Records runs: a failure of a version in `failures`, any other at the endpoint itself. */
export function endpointRuns(failures: RunFailures): EndpointRuns {
  return {
    answered({ endpoint, outcomes }, of, nowMs) {
      outcomes.answered(nowMs);
      failures.answered(of, endpoint.info.id, nowMs);
    },
    failed(endpointState, of, error, nowMs, beganMs, tenant) {
      const { id } = endpointState.endpoint.info;
      if ((error.endpoint ?? id) !== id) return;
      // That endpoint was refused elsewhere itself (see `nothingKnown`), so its own health is not at fault.
      if (error.reason === "unauthenticated" && error.stage === "resolve") return;
      if (failures.failed(endpointState, error, nowMs, of, tenant)) return;
      endpointState.outcomes.failed(error, nowMs, tenant === undefined, beganMs);
    },
    failingMs(known, tenant, nowMs) {
      const of = ranOf(known.description);
      const out = failures.out(of, tenant, known.offersBy, nowMs);
      return (id) => (out.has(id) ? Infinity : (failures.at(of, id)?.penaltyMs(nowMs) ?? 0));
    },
    pausedUntilMs: ({ endpoint, health }, of, tenant) =>
      Math.max(health.pausedUntilMs, of ? failures.pausedUntilMs(of, endpoint.info.id, tenant) : -Infinity),
    downAtMs: ({ endpoint, health }, of) =>
      Math.max(health.downAtMs, failures.at(of, endpoint.info.id)?.downAtMs ?? -Infinity),
  };
}
