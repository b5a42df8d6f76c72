import type { EndpointState } from "./endpoint-state.ts";

/** With fewer answering endpoints than this there is no cap. */
const fewestEndpoints = 3;
/** At most this share of the answering endpoints is paused for failures. */
const mostPausedRatio = 0.5;

/**
 * The paused endpoints that may be used before their pause ends, because too many are paused at once. If most endpoints fail, the requests
 * or something that all endpoints share is the more likely cause, and pausing all turns some failures into nothing but failures.
 * Unreachable and distrusted endpoints stay out.
 */
export function readmitted<E extends Pick<EndpointState, "health">>(
  endpoints: Iterable<E>,
  nowMs: number,
): ReadonlySet<E> {
  const paused: E[] = [];
  let answering = 0;
  for (const endpoint of endpoints) {
    const { health } = endpoint;
    if (health.absent || health.distrusted !== undefined) continue;
    answering++;
    if (health.failing && nowMs < health.pausedUntilMs) paused.push(endpoint);
  }
  const most = Math.floor(answering * mostPausedRatio);
  if (answering < fewestEndpoints || paused.length <= most) return none;
  paused.sort((one, other) => one.health.pausedUntilMs - other.health.pausedUntilMs);
  return new Set(paused.slice(0, paused.length - most));
}

const none: ReadonlySet<never> = new Set();
