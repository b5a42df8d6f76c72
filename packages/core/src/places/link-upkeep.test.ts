import { manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { linkUpkeep } from "./link-upkeep.ts";
import type { Places } from "./places.ts";

it("leaves the processor to requests for most of the time, however many links have news", async () => {
  const clock = manualClock();
  /** What asking links has taken, which moves the clock without a timer. */
  let askedMs = 0;
  const late = { ...clock, nowMs: () => clock.nowMs() + askedMs };
  const refreshedMs: number[] = [];
  // As much of places as is asked.
  const places = {
    all: new Map([["a", undefined]]),
    linksStale: () => true,
    refreshOneLink(nowMs: number) {
      refreshedMs.push(nowMs);
      askedMs += 2;
      return true;
    },
  } as unknown as Places;
  using upkeep = linkUpkeep(late, places);
  upkeep.news();
  await clock.advance(1000);
  expect(refreshedMs[0]).toBe(1);
  expect(askedMs / late.nowMs()).toBeGreaterThan(0.03);
  expect(askedMs / late.nowMs()).toBeLessThan(0.06);
});
