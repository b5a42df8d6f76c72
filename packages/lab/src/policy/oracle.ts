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
