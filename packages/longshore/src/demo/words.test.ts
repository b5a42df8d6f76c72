import { expect, it } from "vitest";
import type { Row } from "./play.ts";
import type { SceneOutcome } from "./run-scenes.ts";
import { scenes } from "./scenes.ts";
import { endpoints, joules, mainReason, sentence, whyWorse } from "./words.ts";

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

it("says why one endpoint alone would have been better, and nothing where it would not", () => {
  const outcome = (rows: readonly Row[], deviceMs: number): SceneOutcome => ({
    scene: scenes.find(({ name }) => name === "wifi")!,
    links: [],
    rows,
    fixed: [{ endpoint: "device", rows: [row("device", "", { tookMs: deviceMs })] }],
    realCrowd: [],
  });
  const there = row("edge", "", { predictedMs: 80, tookMs: 200 });
  expect(whyWorse(outcome([there], 300))).toBeUndefined();
  expect(whyWorse(outcome([{ ...there, failed: "no-answer" }], 100))).toBeUndefined();
  const here = row("device", "", { tookMs: 120 });
  expect(whyWorse(outcome([here], 100))).toContain("the same choice");
  expect(sentence(outcome([there, here], 100))).toContain(
    "1 of 2 requests ran elsewhere, where 80 ms were predicted on average and 200 ms taken.",
  );
  const cut = row("device; edge failed", "", { tookMs: 900, happened: "the wire breaks" });
  expect(whyWorse(outcome([there, cut], 100))).toContain("the wire breaks, which no choice can know before");
});

it("writes no digits after a zero", () => {
  expect([joules(0), joules(12), joules(1240), joules(NaN)]).toEqual(["0 J", "0.012 J", "1.24 J", "-"]);
});
