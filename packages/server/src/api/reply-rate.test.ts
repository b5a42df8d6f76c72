import { expect, it } from "vitest";
import { manualClock } from "@longshore/testkit";
import { replyRate } from "./reply-rate.ts";

it("counts the replies of a second, and forgets them after a pause", async () => {
  const clock = manualClock();
  const rate = replyRate(clock);
  let perSecond = 0;
  for (let at = 0; at < 300; at++) {
    await clock.advance(20);
    rate.replied();
    perSecond = rate.perSecond();
  }
  expect(perSecond).toBeGreaterThan(48);
  expect(perSecond).toBeLessThan(52);
  await clock.advance(10_000);
  rate.replied();
  expect(rate.perSecond()).toBe(1);
});
