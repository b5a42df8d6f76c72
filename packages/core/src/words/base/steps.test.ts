import { manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { LongshoreError } from "./error.ts";
import { allSteps, inSteps, turnWhileWanted } from "./steps.ts";

function* counting(steps: number): Generator<void, number> {
  let done = 1;
  for (; done < steps; done++) yield;
  return done;
}

it("work of one step is done at once, longer work with a pause between its steps", async () => {
  let pauses = 0;
  const pause = (): Promise<void> => {
    pauses += 1;
    return Promise.resolve();
  };
  expect(inSteps(counting(1), pause)).toBe(1);
  expect(await inSteps(counting(4), pause)).toBe(4);
  expect(pauses).toBe(3);
  expect(allSteps(counting(5))).toBe(5);
});

it("an error thrown by a pause ends the work", async () => {
  const pause = (): Promise<void> => Promise.reject(new Error("left"));
  await expect(inSteps(counting(3), pause)).rejects.toThrow("left");
});

it("work whose caller leaves in a pause ends with the call's error", async () => {
  const left = new AbortController();
  const clock = manualClock();
  let steps = 0;
  function* endless(): Generator<void, never> {
    for (;;) {
      if (++steps === 3) left.abort();
      yield;
    }
  }
  const ended = Promise.resolve(inSteps(endless(), () => turnWhileWanted(clock, left.signal, "decode")));
  const why: unknown = await clock.finish(ended.catch((thrown: unknown) => thrown));
  expect(LongshoreError.is(why) && [why.reason, why.stage]).toEqual(["cancelled", "decode"]);
  expect(steps).toBe(3);
});
