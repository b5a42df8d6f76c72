import { expect, it } from "vitest";
import { allSteps, inSteps } from "./steps.ts";

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

it("what a pause throws ends the work", async () => {
  const pause = (): Promise<void> => Promise.reject(new Error("left"));
  await expect(inSteps(counting(3), pause)).rejects.toThrow("left");
});
