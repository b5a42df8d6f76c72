import {
  type Call,
  type Clock,
  type Endpoint,
  type InferenceRequest,
  type LoadReport,
  type Offer,
  seededRandom,
} from "@longshore/core";
import { exponential, housekeepingCall, shift, wrapEndpoint } from "@longshore/core/internal";
import { fifoSlots, type Slots } from "@longshore/lab";
import type { Crowd } from "./endpoint-messages.ts";

/** An endpoint that a crowd can be sent to. */
export interface CrowdedEndpoint extends Endpoint {
  /** Undefined sends the crowd home. */
  crowd(crowd: Crowd | undefined): void;
}

/** Weight of the newest service time. */
const learning = 0.3;
/** A camera whose frame would wait for this many others drops it, as cameras do. */
const mostWaiting = 24;

/**
 * An endpoint shared with a crowd that exists on the clock only: two cores cannot be forty cameras. The frames of the crowd
 * come as a Poisson process and hold a slot for the time that real requests were measured to take here, first come first
 * served; a real request waits for its turn among them and then really runs. Load and offers tell of the wait.
 */
export function crowdedEndpoint(inner: Endpoint, clock: Clock): CrowdedEndpoint {
  let serviceMs = 0;
  let slots: Slots | undefined;
  let arrivals: Disposable | undefined;
  /** A frame of the crowd takes its turn and is gone. */
  const frame = (mine: Slots): void =>
    void mine.work(() => serviceMs, housekeepingCall("crowd")).catch(() => undefined);
  const waitMs = (): number => slots?.waitMs() ?? 0;
  const loaded = (load: LoadReport): LoadReport =>
    slots
      ? {
          ...load,
          queueMs: load.queueMs + waitMs(),
          inFlight: load.inFlight + slots.inFlight,
          cpuRatio: slots.busyRatio,
        }
      : load;

  function crowd(next: Crowd | undefined): void {
    arrivals?.[Symbol.dispose]();
    arrivals = undefined;
    slots = undefined;
    if (!next) return;
    const random = seededRandom(next.seed);
    const mine = fifoSlots({ clock, count: next.slots });
    slots = mine;
    const betweenMs = 1000 / (next.cameras * next.framesPerSecond);
    const arrive = (): void => {
      if (mine.inFlight < next.slots + mostWaiting) frame(mine);
      arrivals = clock.timer(exponential(random, betweenMs), arrive);
    };
    // The crowd has been here for a while.
    for (let index = 0; index < next.slots + mostWaiting / 2; index++) frame(mine);
    arrive();
  }

  const crowded = wrapEndpoint(inner, {
    async offers(query, call) {
      const offers = await inner.offers(query, call);
      const wait = waitMs();
      return offers.map((offer): Offer => ({
        ...offer,
        completionMs: shift(offer.completionMs, wait),
        queueMs: offer.queueMs + wait,
      }));
    },
    async infer(request: InferenceRequest, call: Call, progress) {
      const queued = await slots?.work(() => 0, call);
      const startedMs = clock.nowMs();
      const response = await inner.infer(request, call, progress);
      const tookMs = clock.nowMs() - startedMs;
      serviceMs = serviceMs === 0 ? tookMs : serviceMs + learning * (tookMs - serviceMs);
      const { account } = response;
      const wait = queued ? [{ stage: "queue" as const, name: "crowd", tookMs: queued.queueMs }] : [];
      return {
        ...response,
        ...(response.load ? { load: loaded(response.load) } : {}),
        account: { ...account, stages: [...wait, ...account.stages] },
      };
    },
    close() {
      crowd(undefined);
      return inner.close();
    },
  });
  return { ...crowded, crowd };
}
