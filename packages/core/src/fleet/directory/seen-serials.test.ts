import { expect, it } from "vitest";
import { seenSerials } from "./seen-serials.ts";

it("keeps the numbers of believed endpoints, and of the others the latest", () => {
  const seen = seenSerials("revision", new Map([["kept", true]]), 3);
  for (const id of ["kept", "a", "b", "c", "d"]) seen.remember(id, 7);
  expect([...seen.all.keys()]).toEqual(["kept", "c", "d"]);
  expect(seen.against("kept", 6, () => true)).toBe("revision 6 is older than 7, which was seen");
  expect(seen.against("kept", 7, () => true)).toBeUndefined();
  expect(seen.against("kept", 7, () => false)).toMatch(/same revision 7/);
  expect(seen.against("kept", 8, () => false)).toBeUndefined();
  expect(seen.against("a", 1, () => false)).toBeUndefined();
});
