import type { EndpointState } from "../endpoints/index.ts";
import type { Leg } from "../../decide/plan/index.ts";
import type { Held } from "../steps/index.ts";

/** Larger bodies are not sent to where they may not be taken, in bytes. */
const mostRiskedBytes = 65_536;
/** A wait may exceed the belief by this share of the run before a retry elsewhere pays. */
const spareRatio = 0.2;
/** The least such excess, in milliseconds. */
const leastSpareMs = 2;

/**
 * How long a leg may have to wait at its endpoint for the plan to hold; undefined where only this endpoint sends there, or where
 * finding out costs more than it can save.
 */
export function mostWaitAt(
  endpoint: EndpointState,
  leg: Leg,
  { bytes }: Held,
  nowMs: number,
): number | undefined {
  if (!endpoint.shared(nowMs) || !endpoint.mayTurnAway) return undefined;
  if (bytes > mostRiskedBytes || leg.state === "resident") return undefined;
  return endpoint.queueMs(nowMs) + Math.max(leastSpareMs, spareRatio * (leg.travels?.promisedMs ?? 0));
}
