import { expect, it } from "vitest";
import { zoneDetail, zoneRemoves } from "./zone.ts";

it("a server without a stated zone is removed, and the sentence names the option that states one", () => {
  expect(zoneRemoves(["unknown", "eu/de"], ["eu"], false)).toBe(true);
  expect(zoneDetail(["unknown", "eu/de"], ["eu"])).toBe(
    "no zone is stated for a server on the way (`zone` of its entry, or --at-zone); allowed: eu",
  );
  expect(zoneRemoves([], undefined, false)).toBe(true);
  expect(zoneDetail([], undefined)).toBe("no zone is stated for it");
});

it("a server in a zone outside the allowed ones is removed, and the sentence names both", () => {
  expect(zoneRemoves(["us"], ["asia"], false)).toBe(true);
  expect(zoneDetail(["us"], ["asia"])).toBe("it processes in us; allowed: asia");
  expect(zoneRemoves(["eu/de"], ["eu"], false)).toBe(false);
});
