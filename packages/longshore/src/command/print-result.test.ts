import { type Leg, type Result, tensorOf } from "@longshore/core";
import { bytesOf } from "@longshore/core/internal";
import { testLeg, testPlan } from "@longshore/testkit";
import { expect, it } from "vitest";
import { accountText, directoryLine, lostTable, tensorJson, tensorLine } from "./print-result.ts";

it("prints numbers of 16 bits by their values", () => {
  const half = tensorOf("y", "FP16", [3], bytesOf(Uint16Array.of(0x3c00, 0xb800, 0x7c00)));
  expect(tensorLine("y", half)).toBe("y: FP16 [3]  1 -0.5 Infinity");
  expect(tensorJson(half)).toEqual({ datatype: "FP16", shape: [3], data: [1, -0.5, "Infinity"] });
  const wide = tensorOf("y", "BF16", [2], bytesOf(Uint16Array.of(0x3f80, 0xc000)));
  expect(tensorLine("y", wide)).toBe("y: BF16 [2]  1 -2");
});

it("says of candidates by how much they lost, or that they are no better", () => {
  const like = { endpoint: "edge", variant: "v", cut: "start", codecs: {}, count: 2 };
  const told = lostTable([
    { ...like, why: { kind: "score", score: 12.5, bestScore: 10 } },
    { ...like, why: { kind: "score", score: 10, bestScore: 10 } },
  ]);
  expect(told).toContain("scored 12.50, the best 10.00");
  expect(told).toContain("no better than the best, 10.00");
});

it("reports refused entries of a directory, in touch or not", () => {
  const because = "till-4: it is not signed by one of the operator's keys";
  expect(directoryLine({ ageMs: 5 })).toBe("in touch");
  expect(directoryLine({ ageMs: 5, refused: { count: 1, because } })).toBe(
    `in touch; 1 entry is not believed, ${because}`,
  );
  expect(directoryLine({ ageMs: Infinity, problem: "it is away", refused: { count: 2, because } })).toBe(
    `never read: it is away; 2 entries are not believed, such as ${because}`,
  );
});

it("says of every plan of a request where it ran", () => {
  const leg = (from: string, to: string, endpoint: string): Leg =>
    testLeg({ segment: { model: "m", version: "1", digest: "", variant: "default", from, to }, endpoint });
  const result: Omit<Result, "outputs"> = {
    plans: [
      testPlan([leg("start", "fit", "device"), leg("fit", "detect", "one")]),
      testPlan([leg("detect", "end", "device")]),
    ],
    accounts: [],
    lostLegs: [],
    where: "device",
    because: "it is here",
    tookMs: 2,
    predictedMs: 1,
    predictedLabel: "measured",
    sentBytes: 0,
    receivedBytes: 0,
    energy: { millijoules: 0, label: "estimated" },
    costMicros: 0,
  };
  expect(accountText(result).split("\n").slice(0, 3)).toEqual([
    "where     start..fit on device, then fit..detect on one",
    "then      detect..end on device",
    expect.stringMatching(/^answered  by device/),
  ]);
});
