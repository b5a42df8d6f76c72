import type { EndpointId } from "../base/index.ts";
import type { Place } from "./place.ts";

/**
 * Places that are there and believed, and to which nothing is sent now because they failed; who answered last comes first: one that
 * hangs has not answered since, one that is slow has. They may be asked where nobody else is left to ask.
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
    .sort(([, one], [, other]) => other.answeredAtMs - one.answeredAtMs)
    .map(([id]) => id);
}
