import { manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { DeferredWork } from "./deferred-work.ts";

it("processes deferred work after the present work, in order of arrival", async () => {
  const clock = manualClock();
  const taken: number[] = [];
  const deferred = new DeferredWork<number>(clock, (one) => void taken.push(one));
  deferred.add(1);
  deferred.add(2);
  expect(taken).toEqual([]);
  await clock.advance(0);
  expect(taken).toEqual([1, 2]);
  deferred.add(3);
  await clock.advance(0);
  expect(taken).toEqual([1, 2, 3]);
});

it("processes all waiting work before a read, and none of it again", async () => {
  const clock = manualClock();
  const taken: string[] = [];
  const deferred: DeferredWork<string> = new DeferredWork(clock, (one) => {
    taken.push(one);
    if (one === "a") deferred.add("told by a");
  });
  deferred.add("a");
  deferred.add("b");
  deferred.settle();
  expect(taken).toEqual(["a", "b", "told by a"]);
  await clock.advance(0);
  deferred.settle();
  expect(taken).toHaveLength(3);
});
