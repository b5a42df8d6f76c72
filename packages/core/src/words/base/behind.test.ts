import { manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { Behind } from "./behind.ts";

it("processes deferred work after the present work, in order of arrival", async () => {
  const clock = manualClock();
  const taken: number[] = [];
  const behind = new Behind<number>(clock, (one) => void taken.push(one));
  behind.add(1);
  behind.add(2);
  expect(taken).toEqual([]);
  await clock.advance(0);
  expect(taken).toEqual([1, 2]);
  behind.add(3);
  await clock.advance(0);
  expect(taken).toEqual([1, 2, 3]);
});

it("processes all waiting work before a read, and none of it again", async () => {
  const clock = manualClock();
  const taken: string[] = [];
  const behind: Behind<string> = new Behind(clock, (one) => {
    taken.push(one);
    if (one === "a") behind.add("told by a");
  });
  behind.add("a");
  behind.add("b");
  behind.settle();
  expect(taken).toEqual(["a", "b", "told by a"]);
  await clock.advance(0);
  behind.settle();
  expect(taken).toHaveLength(3);
});
