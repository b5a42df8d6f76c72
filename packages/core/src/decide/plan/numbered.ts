import type { Leg, LegId } from "./plan.ts";

/** Numbers the legs of a plan that runs beside others for the same request, so that their IDs differ. */
export function numbered(legs: readonly Leg[], number: number): readonly Leg[] {
  const named = (id: LegId): LegId => `${id}-${number}`;
  return legs.map((leg) => ({
    ...leg,
    id: named(leg.id),
    takes: leg.takes === "request" ? leg.takes : named(leg.takes),
    starts: leg.starts.map((one) => (one.on === "begin" ? one : { ...one, leg: named(one.leg) })),
  }));
}
