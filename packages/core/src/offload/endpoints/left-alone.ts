import type { EndpointId } from "../../words/base/index.ts";
import type { EndpointState } from "./endpoint-state.ts";

/**
 * Endpoints that are believed, and to which nothing is sent now because they failed; who answered last comes first: one that hangs has not
 * answered since, one that is slow has. Last come those that were gone, which may be back. They may be asked where nobody else is left to ask.
 */
export function leftAlone(
  endpoints: ReadonlyMap<EndpointId, EndpointState>,
  without: ReadonlySet<EndpointId>,
): readonly EndpointId[] {
  return [...endpoints]
    .filter(([id, { health }]) => !without.has(id) && health.failing && health.distrusted === undefined)
    .sort(
      ([, one], [, other]) =>
        Number(one.health.absent) - Number(other.health.absent) || other.answeredAtMs - one.answeredAtMs,
    )
    .map(([id]) => id);
}
