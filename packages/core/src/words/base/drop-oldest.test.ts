import { expect, it } from "vitest";
import { dropOldest } from "./drop-oldest.ts";

it("forgets the oldest entries, and no more than it must", () => {
  const known = new Map([1, 2, 3, 4, 5].map((key) => [key, `${key}`]));
  dropOldest(known, 5);
  expect(known.size).toBe(5);
  known.delete(1);
  known.set(1, "1");
  dropOldest(known, 2);
  expect([...known.keys()]).toEqual([5, 1]);
  dropOldest(known, 0);
  expect(known.size).toBe(0);
});
