import type { LoadReport, Random } from "@longshore/core";
import { capacityOf, type FarmEndpoint } from "@longshore/lab";

/** The parts of a balancer. It sees the outcomes of its requests, and the servers' reports; only the oracle sees inside. */
export interface PickerParts {
  readonly endpoints: readonly FarmEndpoint[];
  readonly random: Random;
  readonly nowMs: () => number;
}

/** A way to balance: one of these for each gateway. */
export interface Picker {
  readonly name: string;
  /** The index of the server that the next request goes to. `workMs` is for the oracle; others may learn from it afterwards. */
  pick(workMs: number): number;
  sent(index: number): void;
  answered(index: number, tookMs: number, load: LoadReport): void;
}

/** Makes a picker. */
export type PickerKind = (parts: PickerParts) => Picker;

const nothing = (): void => undefined;

/** Requests that this gateway has sent and not seen answered. */
export function inFlightCounts(count: number): {
  readonly of: readonly number[];
  sent(index: number): void;
  answered(index: number): void;
} {
  const of = Array.from({ length: count }, () => 0);
  return {
    of,
    sent: (index) => void (of[index] = (of[index] ?? 0) + 1),
    answered: (index) => void (of[index] = (of[index] ?? 0) - 1),
  };
}

/** Two different servers, drawn. */
export function twoOf(count: number, random: Random): readonly [number, number] {
  const first = Math.floor(random.next() * count);
  if (count === 1) return [first, first];
  const second = (first + 1 + Math.floor(random.next() * (count - 1))) % count;
  return [first, second];
}

/** One after another, from a drawn start. */
export const roundRobin: PickerKind = ({ endpoints, random }) => {
  let next = Math.floor(random.next() * endpoints.length);
  return { name: "round robin", pick: () => next++ % endpoints.length, sent: nothing, answered: nothing };
};

/** Smooth weighted round robin over weights that change: the largest credit goes, and pays what all gained. */
export function smoothRobin(count: number, weight: (index: number) => number): () => number {
  const credits = Array.from({ length: count }, () => 0);
  return () => {
    let total = 0;
    let best = 0;
    for (let index = 0; index < count; index++) {
      const own = weight(index);
      total += own;
      credits[index] = (credits[index] ?? 0) + own;
      if ((credits[index] ?? 0) > (credits[best] ?? 0)) best = index;
    }
    credits[best] = (credits[best] ?? 0) - total;
    return best;
  };
}

/** Smooth weighted round robin with correct weights: each server's true capacity. */
export const weightedRoundRobin: PickerKind = ({ endpoints, random }) => {
  const pick = smoothRobin(endpoints.length, (index) => {
    const { server } = endpoints[index] ?? {};
    return server ? capacityOf(server) : 0;
  });
  for (let skip = Math.floor(random.next() * endpoints.length); skip > 0; skip--) pick();
  return { name: "weighted round robin", pick, sent: nothing, answered: nothing };
};

/** Envoy's least request: of two drawn servers the one with fewer requests of this gateway under way. */
export const leastRequest: PickerKind = ({ endpoints, random }) => {
  const counts = inFlightCounts(endpoints.length);
  return {
    name: "least request (P2C)",
    pick() {
      const [one, other] = twoOf(endpoints.length, random);
      return (counts.of[other] ?? 0) < (counts.of[one] ?? 0) ? other : one;
    },
    sent: counts.sent,
    answered: (index) => counts.answered(index),
  };
};

/** The index of the server that finishes first. Of several that finish together, one is drawn. */
function soonest(
  endpoints: readonly FarmEndpoint[],
  finishMsAt: (endpoint: FarmEndpoint) => number,
  random: Random,
): number {
  let best = 0;
  let bestMs = Infinity;
  let alike = 0;
  for (const [index, endpoint] of endpoints.entries()) {
    const finishMs = finishMsAt(endpoint);
    if (finishMs > bestMs) continue;
    alike = finishMs < bestMs ? 1 : alike + 1;
    if (finishMs < bestMs || random.next() * alike < 1) best = index;
    bestMs = finishMs;
  }
  return best;
}

/** Reads the reports of all servers at the moment of choice, which no network allows; does not know how long the request runs. */
export const freshReports: PickerKind = ({ endpoints, random }) => {
  let meanMs = 0;
  let seen = 0;
  return {
    name: "fresh reports",
    pick(workMs) {
      // Only of earlier ones: the time of this one shows when it is done.
      const expectedMs = seen === 0 ? workMs : meanMs;
      meanMs += (workMs - meanMs) / ++seen;
      return soonest(
        endpoints,
        (endpoint) => endpoint.load().queueMs + expectedMs / endpoint.server.speed,
        random,
      );
    },
    sent: nothing,
    answered: nothing,
  };
};

/** Sees the queues of all servers and how long this request will run; not what comes next. */
export const fleetOracle: PickerKind = ({ endpoints, random }) => ({
  name: "oracle",
  pick(workMs) {
    return soonest(endpoints, (endpoint) => endpoint.finishMs(workMs), random);
  },
  sent: nothing,
  answered: nothing,
});
