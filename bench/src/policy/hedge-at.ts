import { quantileOf } from "@longshore/core/internal";
import { local, remote } from "./choices.ts";
import { honestSensor, type HonestSensorOptions } from "./honest-sensor.ts";
import type { ReplayPolicy } from "./policy.ts";

/** Sends where our own belief's median beats the run here, with a back-up after a fixed share of it: 0 races both. */
export function hedgeAt(ratio: number, options: HonestSensorOptions = {}): ReplayPolicy {
  const sensor = honestSensor(options);
  return {
    name: `hedge at ${ratio}`,
    arrived(request, sight) {
      const medianMs = quantileOf(sensor.replyMs(request.bytes, sight), 0.5);
      return medianMs < sight.localMs + sight.localWaitMs ? remote(ratio * sight.localMs) : local;
    },
    ...sensor.notes,
  };
}
