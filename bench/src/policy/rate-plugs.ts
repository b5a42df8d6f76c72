/** Policies that plug one rate into a formula. Their sensors are better than a client's: they see what the link could carry. */
import { packetBytes } from "@longshore/lab";
import { local, remote } from "./choices.ts";
import type { Choice, ReplayPolicy, RequestFacts, Sight } from "./policy.ts";

/** Rate of the last `windowMs` as an ideal passive sensor would see it, in packets per millisecond. */
export function seenRate(sight: Sight, windowMs: number): number {
  const fromMs = Math.max(0, sight.nowMs - windowMs);
  const spanMs = sight.nowMs - fromMs;
  return spanMs > 0 ? sight.ideal.packetsBetween(fromMs, sight.nowMs) / spanMs : Infinity;
}

/**
 * Time until the reply at a rate, after the unacknowledged bytes, which the policies below assume to be none. As in
 * `core/estimate/link-belief.ts`, acknowledgements of bytes that already passed are on their way, so after others no further
 * round trip is added, but no reply comes sooner than on an empty link.
 */
export function predictedMs(
  { bytes }: RequestFacts,
  { roundTripMs, serverMs }: Sight,
  packetsPerMs: number,
  unacknowledgedBytes = 0,
): number {
  const uploadMs = (queued: number): number => (queued + bytes) / packetBytes / packetsPerMs;
  return Math.max(uploadMs(unacknowledgedBytes), uploadMs(0) + roundTripMs) + serverMs;
}

function quicker(request: RequestFacts, sight: Sight, packetsPerMs: number): Choice {
  const hereMs = sight.localMs + sight.localWaitMs;
  return predictedMs(request, sight, packetsPerMs) < hereMs ? remote() : local;
}

/**
 * Plugs in the rate of the last 100 ms, as Y. Kang et al., "Neurosurgeon" (ASPLOS 2017) and most after it plug in the latest
 * measurement. There are no layers to cut between here: only the choice of the endpoint remains.
 */
export function lastRate(): ReplayPolicy {
  return {
    name: "last rate",
    arrived: (request, sight) => quicker(request, sight, seenRate(sight, 100)),
  };
}

/**
 * Plugs in the mean rate of all that was seen, as a minimum cut over mean costs does (C. Hu et al., "Dynamic Adaptive DNN
 * Surgery", INFOCOM 2019). With all here and all there as the only cuts, the minimum cut is the smaller of two sums.
 */
export function meanCut(): ReplayPolicy {
  return {
    name: "min-cut on the mean",
    arrived: (request, sight) => quicker(request, sight, seenRate(sight, Infinity)),
  };
}

const secondMs = 1000;

/** A smoothed rate after a span of at most a second at another: a whole second has a weight of 0.3, a part of one its share. */
export function smoothed(rate: number, seen: number, spanMs: number): number {
  return rate + ((0.3 * spanMs) / secondMs) * (seen - rate);
}

/**
 * An exponentially smoothed rate over the whole seconds since the replay began. With `fresh`, over the part of the second under
 * way, too: without it, at an instant that is drawn it knows nothing of the last half second on average.
 */
export function rateSmoother(fresh = false): (sight: Sight) => number {
  let rate: number | undefined;
  let untilMs = 0;
  return (sight) => {
    for (; untilMs + secondMs <= sight.nowMs; untilMs += secondMs) {
      const seen = sight.ideal.packetsBetween(untilMs, untilMs + secondMs) / secondMs;
      rate = rate === undefined ? seen : smoothed(rate, seen, secondMs);
    }
    if (rate === undefined) return seenRate(sight, secondMs);
    const partMs = sight.nowMs - untilMs;
    return fresh && partMs > 0 ? smoothed(rate, seenRate(sight, partMs), partMs) : rate;
  };
}

/** Plugs in the smoothed rate of whole seconds. */
export function smoothedRate(): ReplayPolicy {
  const rate = rateSmoother();
  return { name: "smoothed rate", arrived: (request, sight) => quicker(request, sight, rate(sight)) };
}
