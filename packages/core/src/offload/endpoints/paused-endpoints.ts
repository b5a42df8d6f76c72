import type { EndpointId } from "../../words/base/index.ts";
import type { EndpointState } from "./endpoint-state.ts";

/**
 * Trusted endpoints that are paused for failures, except `without`: the last resort of a request. Those that answered last come first, since a
 * hanging endpoint has not answered since and a slow one has. Endpoints that were unreachable, and may be back, come last.
 */
export function pausedEndpoints(
  endpoints: ReadonlyMap<EndpointId, EndpointState>,
  without: ReadonlySet<EndpointId>,
): readonly EndpointId[] {
  return [...endpoints]
    .filter(([id, { health }]) => !without.has(id) && health.failing && health.distrusted === undefined)
    .sort(
      ([, one], [, other]) =>
        Number(one.health.absent) - Number(other.health.absent) ||
        other.record.answeredAtMs - one.record.answeredAtMs,
    )
    .map(([id]) => id);
}
