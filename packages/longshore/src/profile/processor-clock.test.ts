import { expect, it } from "vitest";
import { processorClock } from "./processor-clock.ts";

it("counts work and not waiting", async () => {
  const clock = processorClock();
  const before = clock.nowMs();
  await new Promise<void>((resolve) => clock.timer(30, resolve));
  const waited = clock.nowMs();
  let sum = 0;
  while (clock.nowMs() - waited < 5) for (let at = 0; at < 10_000; at++) sum += Math.sqrt(at);
  expect(sum).toBeGreaterThan(0);
  expect(waited).toBeGreaterThanOrEqual(before);
  expect(clock.nowMs()).toBeGreaterThan(waited);
});
