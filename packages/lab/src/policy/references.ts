/** The policies that others use, as yardsticks. Each is as good as its idea, with sensors better than a client has. */
import { packetBytes } from "../trace/index.ts";
import type { Choice, ReplayPolicy, RequestFacts, Sight } from "./policy.ts";

const local: Choice = { where: "local" };
const remote = (backupMs = Infinity): Choice => ({ where: "remote", backupMs });

/** Everything on the device. */
export function allLocal(): ReplayPolicy {
  return { name: "all local", arrived: () => local };
}

/** Everything is sent, and waited for. */
export function allRemote(): ReplayPolicy {
  return { name: "all remote", arrived: () => remote() };
}

/** Send first; run here when there is no answer after `timeoutMs`: what client SDKs with an order of places do. */
export function orderedFallback(timeoutMs = 10_000): ReplayPolicy {
  return { name: "ordered fallback", arrived: () => remote(timeoutMs) };
}

/** Rate of the last `windowMs` as an ideal passive sensor would see it, in packets per millisecond. */
function seenRate(sight: Sight, windowMs: number): number {
  const fromMs = Math.max(0, sight.nowMs - windowMs);
  const spanMs = sight.nowMs - fromMs;
  return spanMs > 0 ? sight.ideal.packetsBetween(fromMs, sight.nowMs) / spanMs : Infinity;
}

function predictedMs(request: RequestFacts, sight: Sight, packetsPerMs: number): number {
  return request.bytes / packetBytes / packetsPerMs + sight.roundTripMs + sight.serverMs;
}

/** Plugs in the rate of the last 100 ms (Neurosurgeon and most re-makes plug in the latest measurement). */
export function lastRate(): ReplayPolicy {
  return {
    name: "last rate",
    arrived: (request, sight) =>
      predictedMs(request, sight, seenRate(sight, 100)) < sight.localMs + sight.localWaitMs
        ? remote()
        : local,
  };
}

/** Weight of the newest second in the smoothed rate. */
const smoothing = 0.3;

/** An exponentially smoothed rate over whole seconds. */
function rateSmoother(): (sight: Sight) => number {
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

/** Plugs in the smoothed rate. `backupRatio`: start the device's run at that multiple of the prediction. */
export function smoothedRate(backupRatio: number = Infinity): ReplayPolicy {
  const rate = rateSmoother();
  return {
    name: backupRatio === Infinity ? "smoothed rate" : `smoothed rate, back-up at ${backupRatio}x`,
    arrived(request, sight) {
      const predicted = predictedMs(request, sight, rate(sight));
      return predicted < sight.localMs + sight.localWaitMs ? remote(predicted * backupRatio) : local;
    },
  };
}

/** The smoothed rate with a back-up at a fixed multiple of the local run: 0 races both. */
export function hedgeAt(ratio: number): ReplayPolicy {
  const rate = rateSmoother();
  return {
    name: `hedge at ${ratio}`,
    arrived(request, sight) {
      const predicted = predictedMs(request, sight, rate(sight));
      return predicted < sight.localMs + sight.localWaitMs ? remote(ratio * sight.localMs) : local;
    },
  };
}

/** Knows the future of the link and obeys its queues, greedily for each request. */
export function oracle(): ReplayPolicy {
  return {
    name: "oracle",
    arrived: (request, sight) =>
      sight.ideal.replyAtMs(request.bytes) - sight.nowMs < sight.localMs + sight.localWaitMs
        ? remote()
        : local,
  };
}
