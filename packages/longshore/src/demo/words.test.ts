import { expect, it } from "vitest";
import type { Row } from "./play.ts";
import { mainReason, endpoints } from "./words.ts";

const row = (where: string, because: string, more: Partial<Row> = {}): Row => ({
  index: 0,
  input: "receipt-1.jpg",
  where,
  because,
  happened: "",
  predictedMs: 1,
  tookMs: 1,
  sentBytes: 0,
  receivedBytes: 0,
  millijoules: 0,
  energyLabel: "estimated",
  answer: "",
  rightRatio: 1,
  ...more,
});

it("says why requests went where most of them did, also where that was instead of another endpoint", () => {
  const rows = [
    row("edge", "the edge is near"),
    row("device; edge failed", "a"),
    row("device; edge failed", "b"),
  ];
  expect(endpoints(rows)).toBe("device; edge failed x2; edge x1");
  expect(mainReason(rows)).toBe("a");
  expect(mainReason(rows.slice(0, 1))).toBe("the edge is near");
});

it("says why the first failed where none was answered", () => {
  expect(mainReason([row("", "", { failed: "no-endpoint", failure: "nobody is there" })])).toBe(
    "nobody is there",
  );
  expect(mainReason([])).toBe("");
});
