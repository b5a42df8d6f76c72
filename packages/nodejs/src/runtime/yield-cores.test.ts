import { expect, it } from "vitest";
import { lowerOthers } from "./yield-cores.ts";

it("lowers all threads but the first that are still there, but for those that are as low already", () => {
  const niceness = new Map([
    [1, 2],
    [8, 2],
    [9, 11],
  ]);
  const set: [number, number][] = [];
  lowerOthers(5, 1, {
    list: () => [7, 1, 8, 9],
    niceness(thread) {
      const found = niceness.get(thread);
      if (found === undefined) throw new Error("no such thread");
      return found;
    },
    setNiceness: (thread, to) => void set.push([thread, to]),
  });
  expect(set).toEqual([[8, 7]]);
});
