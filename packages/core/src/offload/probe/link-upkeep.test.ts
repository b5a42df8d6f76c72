import { manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { linkUpkeep } from "./link-upkeep.ts";

/** Share of a second that computing tables took, with news in every millisecond and a computation of `tookMs`. */
async function askedIn(tookMs: number, more: boolean) {
  const clock = manualClock();
  /** Time that computations took, which moves the clock without a timer. */
  let askedMs = 0;
  let asked = 0;
  let firstMs = NaN;
  const late = { ...clock, nowMs: () => clock.nowMs() + askedMs };
  const endpoints = {
    all: new Map([["a", undefined]]),
    links: {
      stale: () => true,
      refreshOne(nowMs: number) {
        if (asked++ === 0) firstMs = nowMs;
        askedMs += tookMs;
        return more;
      },
    },
  };
  using upkeep = linkUpkeep(late, endpoints);
  for (let ms = 0; ms < 1000; ms++) {
    upkeep.news();
    await clock.advance(1);
  }
  return { firstMs, ratio: askedMs / late.nowMs() };
}

it.each([true, false])(
  "leaves the processor to requests for most of the time, however many links have news (more at once: %s)",
  async (more) => {
    const { firstMs, ratio } = await askedIn(2, more);
    // After the tick of the belief in which the news came.
    expect(firstMs).toBe(11);
    expect(ratio).toBeGreaterThan(0.03);
    expect(ratio).toBeLessThan(0.06);
  },
);
