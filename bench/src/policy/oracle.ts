import { deviceDemand, lossFor, lossOf } from "@longshore/core/internal";
import { local, remote } from "./choices.ts";
import type { ReplayPolicy } from "./policy.ts";

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

/** The same under the objective of the offloader: late answers count more, and a run here is charged for what it keeps waiting. */
export function pricedOracle(): ReplayPolicy {
  const demand = deviceDemand();
  return {
    name: "oracle",
    arrived(request, { nowMs, localMs, localWaitMs, ideal }) {
      demand.seen(nowMs);
      const stayMs = localMs + localWaitMs;
      const device = demand.price(nowMs, localMs);
      const heldMs = device.heldMs(stayMs) - device.heldMs(localWaitMs);
      const sends =
        lossOf(lossFor(stayMs, localMs), ideal.replyAtMs(request.bytes) - nowMs) < stayMs + heldMs;
      demand.ended(!sends);
      return sends ? remote() : local;
    },
  };
}
