import type { EndpointId } from "../base/index.ts";
import type { Place } from "./place.ts";

/**
 * Places that are there and believed, and to which nothing is sent now because they failed; who is tried next comes first. They
 * may be asked what nobody waits for, where nobody else is left to ask.
 */
export function leftAlone(
  places: ReadonlyMap<EndpointId, Place>,
  without: ReadonlySet<EndpointId>,
): readonly EndpointId[] {
  return [...places]
    .filter(
      ([id, { health }]) =>
        !without.has(id) && health.failing && !health.absent && health.distrusted === undefined,
    )
    .sort(([, one], [, other]) => one.health.pausedUntilMs - other.health.pausedUntilMs)
    .map(([id]) => id);
}
