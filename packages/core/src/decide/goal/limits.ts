import type { EndpointId } from "../../words/base/index.ts";
import type { EndpointInfo, Tier } from "../../wire/endpoint/index.ts";
import type { Aim } from "./objective.ts";

/** Which endpoints: those of a tier, or the one with an id. */
export type Only = Tier | { readonly endpoint: EndpointId };

/** Whether an endpoint has that tier or ID. */
export function isOnly(only: Only, { id, tier }: Pick<EndpointInfo, "id" | "tier">): boolean {
  return typeof only === "string" ? tier === only : id === only.endpoint;
}

/** The limits and the objective of a decision. Undefined limits nothing. */
export interface PlanLimits extends Aim {
  readonly maxDeviceMillijoules?: number | undefined;
  readonly maxCostMicros?: number | undefined;
  readonly minAccuracyRatio?: number | undefined;
  readonly variant?: string | undefined;
  /** One endpoint of these runs all of it. */
  readonly only?: Only | undefined;
  /** Others count only if none of these keeps everything else. */
  readonly prefer?: Only | undefined;
}

/**
 * Limits of one of several requests that a caller demanded the same of, numbered by `at`: a key stands for one request, so each has
 * its own, which is the same whenever that one is sent again.
 */
export function limitsAt<L extends { readonly idempotencyKey?: string }>(limits: L, at: number): L {
  const { idempotencyKey: key } = limits;
  return key === undefined ? limits : { ...limits, idempotencyKey: `${key}.${at}` };
}
