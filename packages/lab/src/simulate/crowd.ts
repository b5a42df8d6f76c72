import { estimateOf } from "@longshore/core";
import { housekeepingCall, meanOf } from "@longshore/core/internal";
import {
  bucketOf,
  type OffloadWorld,
  profiledSegmentMs,
  type SimulatedModel,
  simulatedEndpoint,
  wholeSegment,
} from "../world/index.ts";
import type { CrowdOptions } from "./simulation.ts";

/**
 * Requests of other callers, as a Poisson process over links of their own, that keep a share of an endpoint's instances busy.
 */
export function crowd(world: OffloadWorld, model: SimulatedModel, options: CrowdOptions): void {
  const { speed, instances, busyRatio, untilMs, random } = options;
  const endpoint = world.endpoints.get(options.endpoint);
  if (!endpoint || busyRatio <= 0) return;
  const { clock } = world;
  const theirs = simulatedEndpoint({
    info: endpoint.endpoint.info,
    models: [model],
    clock,
    random,
    slots: endpoint.slots,
    speed,
  });
  const segment = wholeSegment(model.description);
  const times = profiledSegmentMs(bucketOf(model.profile, segment.variant, { bytes: 0 }), segment);
  const serviceMs = meanOf(estimateOf(times, { observedAtMs: 0, origin: "told" })) / speed;
  const gapMs = serviceMs / instances / busyRatio;
  const next = (): void => {
    if (clock.nowMs() > untilMs) return;
    theirs
      .infer({ segment, inputs: new Map(), codecs: {} }, housekeepingCall("another caller"))
      .catch(() => undefined);
    clock.timer(-gapMs * Math.log(1 - random.next()), next);
  };
  next();
}
