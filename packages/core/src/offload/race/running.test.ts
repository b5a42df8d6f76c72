import { doubleDescription, doubleEndpoint, manualClock } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import {
  type Clock,
  housekeepingCall,
  LongshoreError,
  seededRandom,
  silentObserver,
} from "../../words/base/index.ts";
import type { Account, Endpoint, LoadReport } from "../../wire/endpoint/index.ts";
import { endCut, startCut } from "../../words/model/index.ts";
import { deviceSpeed } from "../../decide/estimate/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { knowModel } from "../models/index.ts";
import { certain, type Estimate, estimateSize } from "../../words/estimate/index.ts";
import { type EndpointState, followEndpoint } from "../endpoints/index.ts";
import { lateAloneMs } from "./guard-times.ts";
import type { Leg } from "../../decide/plan/index.ts";
import { createLoop, type Loop } from "./loop.ts";
import type { Job } from "./job.ts";
import { bookAnswer, bookBroken, bookLoss, endLeg } from "./running.ts";
import type { Running } from "./running-leg.ts";
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

/** A loop over these endpoints, without a device of its own. */
function loopOf(clock: Clock, endpoints: readonly Endpoint[] = []): Loop {
  return createLoop({
    id: "here",
    endpoints,
    policy: tablePolicy({}),
    clock,
    random: seededRandom(1),
    observer: silentObserver,
    links: () => undefined,
  });
}

/** A request for all of a model, at an instant. */
function jobAt(nowMs: number): Job {
  const description = doubleDescription({ name: "m" });
  const report = { endpoint: doubleEndpoint([]), knowledge: { description }, offers: [] };
  return {
    known: knowModel(undefined, [report], undefined, deviceSpeed(), nowMs)!,
    held: {
      cut: startCut,
      variant: undefined,
      tensors: new Map(),
      bytes: 0,
      features: { bytes: 0 },
    },
    to: endCut,
    limits: { objective: "latency", minAgreementRatio: 0 },
    call: housekeepingCall("test"),
  };
}

/** A leg at an endpoint that began at an instant. */
function runningAt(endpoint: EndpointState, startedMs: number, change: Partial<Running> = {}): Running {
  return {
    leg,
    startedMs,
    cancel: () => undefined,
    endpoint,
    aloneMs: lateAloneMs(endpoint, leg, startedMs),
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
}

const madeUp = new LongshoreError("no-answer", "execute", "made up");

/** An endpoint where six legs are under way, and how one of them is lost: whether that counted against the endpoint. */
function lossesAt() {
  const clock = manualClock();
  const endpointState = followEndpoint(doubleEndpoint([]), undefined, clock, seededRandom(1), undefined);
  for (let count = 0; count < 6; count++) endpointState.legs.began(10, 0);
  let abandoned = 0;
  /** The same endpoint, which counts what is held against it. */
  const counting: EndpointState = {
    ...endpointState,
    outcomes: {
      ...endpointState.outcomes,
      abandoned(...given) {
        abandoned++;
        endpointState.outcomes.abandoned(...given);
      },
    },
  };
  const loop = loopOf(clock);
  const lose = (startedMs: number, nowMs: number, change: Partial<Running> = {}): boolean => {
    const before = abandoned;
    const running = runningAt(counting, startedMs, change);
    bookLoss(loop, jobAt(clock.nowMs()), running, "overtaken", newTally(), nowMs);
    return abandoned > before;
  };
  return { endpoint: endpointState, lose };
}

describe("a leg that lost", () => {
  it("counts as the first of all that one stall keeps waiting, and only where it was late itself", () => {
    const { endpoint: endpointState, lose } = lossesAt();
    expect(lose(0, 500)).toBe(false);
    endpointState.record.missed(1);
    expect([lose(490, 500), lose(0, 500)]).toEqual([false, true]);
    endpointState.outcomes.failed(madeUp, 500);
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
    endpointState.outcomes.failed(madeUp, 100);
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
    const loop = loopOf(clock, [endpoint]);
    const endpointState = loop.endpoints.all.get(endpoint.info.id)!;
    const running = runningAt(endpointState, 0, { usualMs: 500 });
    for (let count = 0; count < 2; count++) endpointState.legs.began(10, 0);
    const answered = (nowMs: number, load: Omit<LoadReport, "atMs" | "cpuRatio">): void => {
      const account: Account = {
        endpoint: endpoint.info.id,
        zone: endpoint.info.zone,
        segment: leg.segment,
        stages: [],
        sentBytes: 0,
        receivedBytes: 0,
        energy: { millijoules: 0, label: "estimated" },
        costMicros: 0,
        forwarded: [],
      };
      const response = { outputs: new Map(), account, load: { ...load, atMs: nowMs, cpuRatio: 0 } };
      const job = jobAt(nowMs);
      endLeg(loop, endpointState, nowMs);
      bookAnswer(loop, job, job.held, running, response, newTally(), nowMs);
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
