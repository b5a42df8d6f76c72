import { manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { leave } from "./join.ts";

it("a server that is stopped waits for a silent directory server no longer than for its other work", async () => {
  const clock = manualClock();
  const until = (ms: number): Promise<void> => new Promise((resolve) => void clock.timer(ms, resolve));
  const silent = { [Symbol.asyncDispose]: () => until(5000) };
  await clock.finish(leave(silent, clock, until(200)));
  expect(clock.nowMs()).toBe(200);
  // Readers of the list have the time to get the news.
  const quick = { [Symbol.asyncDispose]: () => until(50) };
  await clock.finish(leave(quick, clock, until(30_000)));
  expect(clock.nowMs()).toBe(200 + 50 + 2500);
});
