import { describe, expect, it } from "vitest";
import { constantTrace, rateTrace } from "@longshore/lab";
import { blindBound, type ReplaySetting } from "./index.ts";

/** 100 requests, 20 kB, on a link that stops for half a second at this many of them, or shortly before. */
function stopping(stops: number, beforeMs = 0): ReplaySetting {
  const entries = Array.from({ length: stops }, (_, stop) => [
    { fromMs: 5000 * stop, bitsPerSecond: 20e6 },
    { fromMs: 5000 * stop + 2500 - beforeMs, bitsPerSecond: 0 },
    { fromMs: 5000 * stop + 2950, bitsPerSecond: 20e6 },
  ]).flat();
  const trace = stops > 0 ? rateTrace("stopping", entries, 50_000) : constantTrace(20e6);
  const rest = { requestBytes: 20_000, localMs: 100, serverMs: 15, roundTripMs: 50 };
  return { trace, ...rest, arrivals: 500, lengthMs: 50_000 };
}

describe("blindBound", () => {
  it("lets all be sent on a link that never stops", () => {
    const bound = blindBound(stopping(0), 1.3, 0.15);
    expect(bound).toMatchObject({ requests: 100, lookGood: 99, lateOfThem: 0 });
    expect(bound?.meanVsOracle).toBeLessThan(1.01);
  });

  it("allows as few bets as unforeseeable stops permit", () => {
    const bound = blindBound(stopping(10), 1.3, 0.15);
    // Each stop meets one request, and none of a hundred may be late: runs on both sides remain.
    expect(bound).toMatchObject({ requests: 100, lateOfThem: 10, sent: 15 });
    expect(bound?.meanVsOracle).toBeGreaterThan(1.2);
  });

  it("looks until the second run would have to start", () => {
    // 60 ms before the request, and a second run waits 30 more: with a round trip of 50 ms the stop is seen.
    expect(blindBound(stopping(10, 60), 1.3, 0.15)).toMatchObject({ requests: 100, lateOfThem: 0 });
  });

  it("says nothing where acknowledgements are in time", () => {
    expect(blindBound({ ...stopping(10), roundTripMs: 20 }, 1.3, 0.15)).toBeUndefined();
  });
});
