import type { EndpointState } from "../endpoints/index.ts";
import type { Leg } from "../../decide/plan/index.ts";
import type { HeldCrossing } from "../steps/index.ts";

/** Larger bodies are not sent where they may be refused, in bytes. */
const mostRiskedBytes = 65_536;
/** A wait may exceed the belief by this share of the run before a retry elsewhere pays. */
const spareRatio = 0.2;
/** The least such excess, in milliseconds. */
const leastSpareMs = 2;

/**
 * The longest wait at the endpoint with which the plan still holds; undefined if only this endpoint sends there, or if a refusal would cost
 * more than it can save.
 */
export function mostWaitAt(
  endpoint: Pick<EndpointState, "queue" | "reading">,
  leg: Leg,
  { bytes }: HeldCrossing,
  nowMs: number,
): number | undefined {
  if (!endpoint.queue.shared(nowMs) || !endpoint.reading.mayTurnAway) return undefined;
  if (bytes > mostRiskedBytes || leg.state === "resident") return undefined;
  return endpoint.queue.waitMs(nowMs) + Math.max(leastSpareMs, spareRatio * (leg.travels?.promisedMs ?? 0));
}
