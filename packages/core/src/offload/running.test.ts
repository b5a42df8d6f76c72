import { doubleEndpoint, manualClock } from "@longshore/testkit";
import { describe, expect, it, vi } from "vitest";
import { LongshoreError, seededRandom } from "../base/index.ts";
import { certain, type Estimate, estimateSize } from "../estimate/index.ts";
import { followPlace, lateAloneMs } from "../places/index.ts";
import type { Leg } from "../plan/index.ts";
import type { Loop } from "./loop.ts";
import { bookLoss, type Running } from "./running.ts";
import { newTally } from "../stream/index.ts";

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
    agreementRatio: 1,
    accuracyRatio: undefined,
    sentBytes: 100_000,
  },
  travels: { upMs: spread(20, 60), thereMs: certain(500), downMs: certain(0), promisedMs: 10 },
};

const madeUp = new LongshoreError("no-answer", "execute", "made up");

/** A place where six legs are under way, and how one of them is lost: whether that counted against the place. */
function lossesAt() {
  const place = followPlace(doubleEndpoint([]), undefined, manualClock(), seededRandom(1), undefined);
  for (let count = 0; count < 6; count++) place.legBegan(10, 0);
  const abandoned = vi.spyOn(place, "abandoned");
  const nothing = { used: () => undefined, touched: () => undefined };
  // What booking a loss needs of the loop.
  const loop = {
    places: nothing,
    radio: nothing,
    parts: {},
    warmth: { cold: () => false },
  } as unknown as Loop;
  const lose = (startedMs: number, nowMs: number, change: Partial<Running> = {}): boolean => {
    const before = abandoned.mock.calls.length;
    const running: Running = {
      leg,
      startedMs,
      cancel: () => undefined,
      place,
      aloneMs: lateAloneMs(place, leg, startedMs),
      usualMs: Infinity,
      work: undefined,
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
    bookLoss(loop, running, "overtaken", newTally(), nowMs);
    return abandoned.mock.calls.length > before;
  };
  return { place, lose };
}

describe("a leg that lost", () => {
  it("counts as the first of all that one stall keeps waiting, and only where it was late itself", () => {
    const { place, lose } = lossesAt();
    expect(lose(0, 500)).toBe(false);
    place.missed(1);
    expect([lose(490, 500), lose(0, 500)]).toEqual([false, true]);
    place.failed(madeUp, 500);
    expect([lose(1, 501), lose(600, 1000)]).toEqual([false, true]);
  });

  it("is not held against a place that took some of its body just now, and is where that was long ago", () => {
    const { lose } = lossesAt();
    const some = { heardBytes: 50_000 };
    expect(lose(0, 5000, { ...some, heardAtMs: 4990 })).toBe(false);
    expect(lose(0, 5000, { ...some, heardAtMs: 100 })).toBe(true);
  });

  it("says how slow its place is, also where its body was on its way here when the place failed others", () => {
    const { place, lose } = lossesAt();
    place.missed(1);
    place.failed(madeUp, 100);
    expect(place.service.ratio(700)).toBe(1);
    const arrived = { waits: true, beganMs: 200, heardAtMs: 210, heardBytes: 100_000 };
    expect(lose(0, 700, arrived)).toBe(false);
    expect(place.service.ratio(700)).toBeGreaterThan(10);
    // Nothing is known of one whose body is not here yet.
    const { place: other, lose: loseThere } = lossesAt();
    expect(loseThere(0, 5000, { ...arrived, beganMs: undefined })).toBe(false);
    expect(other.service.ratio(5000)).toBe(1);
  });
});
