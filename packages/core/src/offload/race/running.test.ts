import { doubleEndpoint, manualClock } from "@longshore/testkit";
import { describe, expect, it, vi } from "vitest";
import {
  DeferredWork,
  housekeepingCall,
  LongshoreError,
  seededRandom,
  silentObserver,
} from "../../words/base/index.ts";
import type { LoadReport } from "../../wire/endpoint/index.ts";
import { certain, type Estimate, estimateSize } from "../../words/estimate/index.ts";
import { followEndpoint, followEndpoints } from "../endpoints/index.ts";
import { lateAloneMs } from "./guard-times.ts";
import type { Leg } from "../../decide/plan/index.ts";
import type { Loop } from "./loop.ts";
import type { Job } from "./job.ts";
import { bookAnswer, bookBroken, bookLoss, endLeg } from "./running.ts";
import type { Running } from "./running-leg.ts";
import { RetryQueue } from "./retries.ts";
import { newTally } from "../account/index.ts";

const spread = (low: number, high: number): Estimate => ({
  ...certain(0),
  values: Float64Array.from({ length: estimateSize }, (_, index) => low + ((high - low) * index) / 15),
});

/** 100 kB up in 20 to 60 ms, and 10 ms there after 490 ms of waiting for others. */
const leg: Leg = {
  id: "remote",
  segment: { model: "m", version: "1", digest: "", variant: "v", from: "start", to: "end" },
  endpoint: "edge",
  takes: "request",
  codecs: {},
  state: "none",
  starts: [{ on: "begin" }],
  spends: "nothing",
  predicted: {
    completionMs: spread(520, 560),
    deviceMillijoules: 0,
    costMicros: 0,
    mostMicros: 0,
    agreementRatio: 1,
    accuracyRatio: undefined,
    sentBytes: 100_000,
  },
  travels: { upMs: spread(20, 60), thereMs: certain(500), downMs: certain(0), promisedMs: 10 },
};

const madeUp = new LongshoreError("no-answer", "execute", "made up");

/** An endpoint where six legs are under way, and how one of them is lost: whether that counted against the endpoint. */
function lossesAt() {
  const clock = manualClock();
  const endpointState = followEndpoint(doubleEndpoint([]), undefined, clock, seededRandom(1), undefined);
  for (let count = 0; count < 6; count++) endpointState.legBegan(10, 0);
  const abandoned = vi.spyOn(endpointState, "abandoned");
  const nothing = { used: () => undefined, touched: () => undefined };
  // The part of the loop that booking a loss needs.
  const loop = {
    endpoints: nothing,
    deferred: new DeferredWork<() => void>(clock, (work) => work()),
    device: { radio: nothing, warmth: { cold: () => false } },
    parts: {},
  } as unknown as Loop;
  // Nothing here has a price.
  const job = {} as unknown as Job;
  const lose = (startedMs: number, nowMs: number, change: Partial<Running> = {}): boolean => {
    const before = abandoned.mock.calls.length;
    const running: Running = {
      leg,
      startedMs,
      cancel: () => undefined,
      endpoint: endpointState,
      aloneMs: lateAloneMs(endpointState, leg, startedMs),
      usualMs: Infinity,
      addedMs: 0,
      work: undefined,
      ends: undefined,
      watch: undefined,
      hold: undefined,
      exchange: undefined,
      waits: false,
      beganMs: startedMs,
      heardAtMs: startedMs,
      heardBytes: 0,
      way: undefined,
      mostWaitMs: undefined,
      refused: undefined,
      late: undefined,
      ...change,
    };
    bookLoss(loop, job, running, "overtaken", newTally(), nowMs);
    return abandoned.mock.calls.length > before;
  };
  return { endpoint: endpointState, lose };
}

describe("a leg that lost", () => {
  it("counts as the first of all that one stall keeps waiting, and only where it was late itself", () => {
    const { endpoint: endpointState, lose } = lossesAt();
    expect(lose(0, 500)).toBe(false);
    endpointState.record.missed(1);
    expect([lose(490, 500), lose(0, 500)]).toEqual([false, true]);
    endpointState.failed(madeUp, 500);
    expect([lose(1, 501), lose(600, 1000)]).toEqual([false, true]);
  });

  it("is not held against an endpoint that took some of its body just now, and is where that was long ago", () => {
    const { lose } = lossesAt();
    const some = { heardBytes: 50_000 };
    expect(lose(0, 5000, { ...some, heardAtMs: 4990 })).toBe(false);
    expect(lose(0, 5000, { ...some, heardAtMs: 100 })).toBe(true);
  });

  it("says how slow its endpoint is, also where its body was on its way here when the endpoint failed others", () => {
    const { endpoint: endpointState, lose } = lossesAt();
    endpointState.record.missed(1);
    endpointState.failed(madeUp, 100);
    expect(endpointState.service.ratio(700)).toBe(1);
    const arrived = { waits: true, beganMs: 200, heardAtMs: 210, heardBytes: 100_000 };
    expect(lose(0, 700, arrived)).toBe(false);
    expect(endpointState.service.ratio(700)).toBeGreaterThan(10);
    // Nothing is known of one whose body is not here yet.
    const { endpoint: other, lose: loseThere } = lossesAt();
    expect(loseThere(0, 5000, { ...arrived, beganMs: undefined })).toBe(false);
    expect(other.service.ratio(5000)).toBe(1);
  });
});

describe("two legs that are over before the books of the first are written", () => {
  function scene() {
    const clock = manualClock();
    const endpoint = doubleEndpoint([]);
    const [random, links] = [seededRandom(1), (): undefined => undefined];
    const endpoints = followEndpoints(
      { endpoints: [endpoint], clock, random, observer: silentObserver, links },
      "here",
    );
    const endpointState = endpoints.all.get(endpoint.info.id)!;
    // The part of the loop that booking needs.
    const loop = {
      clock,
      endpoints,
      deferred: new DeferredWork<() => void>(clock, (work) => work()),
      parts: { observer: silentObserver },
      device: { warmth: { ran: () => undefined }, activeWatts: 0 },
      retrying: { waiting: new RetryQueue() },
    } as unknown as Loop;
    const running = {
      leg,
      endpoint: endpointState,
      startedMs: 0,
      usualMs: 500,
      waits: false,
    } as unknown as Running;
    for (let count = 0; count < 2; count++) endpointState.legBegan(10, 0);
    const answered = (nowMs: number, load: Omit<LoadReport, "atMs" | "cpuRatio">): void => {
      const response = {
        account: { stages: [], forwarded: [], costMicros: 0 },
        load: { ...load, atMs: nowMs, cpuRatio: 0 },
      };
      const [job, held, given] = [{}, {}, response] as unknown as [
        Job,
        Parameters<typeof bookAnswer>[2],
        Parameters<typeof bookAnswer>[4],
      ];
      endLeg(loop, endpointState, nowMs);
      bookAnswer(loop, job, held, running, given, newTally(), nowMs);
    };
    return { clock, loop, endpoint: endpointState, running, answered };
  }

  it("leave an endpoint alone that answered one and then broke the other", async () => {
    const { clock, loop, endpoint: endpointState, running, answered } = scene();
    answered(100, { inFlight: 1, queueMs: 0 });
    endLeg(loop, endpointState);
    const gone = new LongshoreError("unreachable", "transport", "it is gone");
    bookBroken(loop, running, housekeepingCall("test"), gone, 101);
    await clock.advance(0);
    expect(endpointState.health.failing).toBe(true);
    expect(endpointState.record.answeredAtMs).toBe(100);
  });

  it("have nobody take what is ours for what others cause", async () => {
    const { clock, endpoint: endpointState, answered } = scene();
    answered(100, { inFlight: 1, queueMs: 40 });
    answered(101, { inFlight: 0, queueMs: 0 });
    await clock.advance(0);
    expect(endpointState.queue.waitMs(5000)).toBe(0);
  });
});
