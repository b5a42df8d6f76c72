/** Policies that plug one rate into a formula. Their sensors are better than a client's: they see what the link could carry. */
import { packetBytes } from "../trace/index.ts";
import { local, remote } from "./choices.ts";
import type { Choice, ReplayPolicy, RequestFacts, Sight } from "./policy.ts";

/** Rate of the last `windowMs` as an ideal passive sensor would see it, in packets per millisecond. */
export function seenRate(sight: Sight, windowMs: number): number {
  const fromMs = Math.max(0, sight.nowMs - windowMs);
  const spanMs = sight.nowMs - fromMs;
  return spanMs > 0 ? sight.ideal.packetsBetween(fromMs, sight.nowMs) / spanMs : Infinity;
}

/** Time until the reply at a rate, on an empty link. */
export function predictedMs(request: RequestFacts, sight: Sight, packetsPerMs: number): number {
  return request.bytes / packetBytes / packetsPerMs + sight.roundTripMs + sight.serverMs;
}

function quicker(request: RequestFacts, sight: Sight, packetsPerMs: number): Choice {
  const hereMs = sight.localMs + sight.localWaitMs;
  return predictedMs(request, sight, packetsPerMs) < hereMs ? remote() : local;
}

/**
 * Plugs in the rate of the last 100 ms, as Y. Kang et al., "Neurosurgeon" (ASPLOS 2017) and most after it plug in the
 * latest measurement. There are no layers to cut between here: what is left of it is the choice of the place.
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

/** Weight of the newest second in the smoothed rate. */
export const smoothing = 0.3;

/** An exponentially smoothed rate over whole seconds. */
export function rateSmoother(): (sight: Sight) => number {
  let rate: number | undefined;
  let untilMs = 0;
  return (sight) => {
    for (; untilMs + 1000 <= sight.nowMs; untilMs += 1000) {
      const seen = sight.ideal.packetsBetween(untilMs, untilMs + 1000) / 1000;
      rate = rate === undefined ? seen : rate + smoothing * (seen - rate);
    }
    return rate ?? seenRate(sight, 1000);
  };
}

/** Plugs in the smoothed rate. */
export function smoothedRate(): ReplayPolicy {
  const rate = rateSmoother();
  return { name: "smoothed rate", arrived: (request, sight) => quicker(request, sight, rate(sight)) };
}
