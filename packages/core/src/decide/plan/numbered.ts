import type { Leg, LegId } from "./plan.ts";

/** The legs of a plan that is followed beside others for the same request, told apart from theirs by a number. */
export function numbered(legs: readonly Leg[], number: number): readonly Leg[] {
  const named = (id: LegId): LegId => `${id}-${number}`;
  return legs.map((leg) => ({
    ...leg,
    id: named(leg.id),
    takes: leg.takes === "request" ? leg.takes : named(leg.takes),
    starts: leg.starts.map((one) => (one.on === "begin" ? one : { ...one, leg: named(one.leg) })),
  }));
}
