import type { EndpointState } from "./endpoint-state.ts";

/** The cap holds from this many answering endpoints on. */
const fewest = 3;
/** At most this share of the answering endpoints is paused for failures. */
const mostRatio = 0.5;

/**
 * The endpoints that failed, answer all the same, and are to be used before their pause is over because too many pause at once.
 * Where most endpoints fail, what is wrong is more likely with the requests or with something that all of them share; leaving
 * all alone then turns some failures into nothing but failures. Endpoints that cannot be reached, and those whose
 * answers are not believed, stay out.
 */
export function letBack(endpoints: Iterable<EndpointState>, nowMs: number): ReadonlySet<EndpointState> {
  const paused: EndpointState[] = [];
  let answering = 0;
  for (const endpoint of endpoints) {
    const { health } = endpoint;
    if (health.absent || health.distrusted !== undefined) continue;
    answering++;
    if (health.failing && nowMs < health.pausedUntilMs) paused.push(endpoint);
  }
  const most = Math.floor(answering * mostRatio);
  if (answering < fewest || paused.length <= most) return nobody;
  paused.sort((one, other) => one.health.pausedUntilMs - other.health.pausedUntilMs);
  return new Set(paused.slice(0, paused.length - most));
}

const nobody: ReadonlySet<EndpointState> = new Set();
