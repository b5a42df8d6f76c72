import { describe, expect, it } from "vitest";
import { present } from "../../test/present.ts";
import { hasLight, light, realFiles } from "../../test/files.ts";
import { opened, smallModels, withSequence } from "../../test/models.ts";
import { readModel } from "../onnx/index.ts";
import { countLegalSets } from "../partition/index.ts";
import { splitGraph } from "./index.ts";
import { segmentOf } from "./source.ts";

describe("legal cuts", () => {
  it.runIf(hasLight).each([
    ["bvlc_alexnet", 25],
    ["zfnet512", 23],
    ["vgg19", 47],
    ["squeezenet", 99],
    ["shufflenet", 234],
    ["resnet50", 241],
    ["densenet121", 669],
    ["inception_v1", 2718],
    ["inception_v2", 59862],
  ])("of %s are %i", (name, count) => {
    expect(countLegalSets(splitGraph(readModel(light(name))).dag)).toBe(count);
  });

  it.each([
    ["ocr orient", 221],
    ["ocr recognise", 3222],
    ["ocr detect", 164761],
    ["silero", 6],
    ["silero 16k", 837],
  ])("of %s are %i", (name, count) => {
    expect(opened(present(realFiles[name])()).table.legal).toBe(count);
  });

  it("have short ids that depend on the file alone", () => {
    const [first, second] = [
      opened(present(realFiles["ocr orient"])()),
      opened(present(realFiles["ocr orient"])()),
    ];
    expect(first.table.cuts.map((cut) => cut.id)).toEqual(second.table.cuts.map((cut) => cut.id));
    expect(first.table.cuts.every((cut) => /^c[1-9]\d{0,5}$/.test(cut.id))).toBe(true);
    expect(first.table.cuts).toHaveLength(219);
  });

  it("of a graph with too many are candidates in topological order", () => {
    const { table } = opened(present(realFiles["ocr detect"])());
    expect(table.complete).toBe(false);
    expect(table.cuts.length).toBeGreaterThan(300);
    expect(table.cuts.length).toBeLessThan(2000);
  });

  it("state the crossing: each tensor once, graph inputs that are needed later, earlier outputs", () => {
    const { split, table } = opened(present(smallModels["choice that captures"])());
    const crossings = table.cuts.map(
      ({ crossing, reveals }) => `${crossing.map((one) => one.name).join()} ${reveals}`,
    );
    expect(crossings).toEqual([
      // c is needed by the choice; squared is captured by its branches, and an output besides.
      "c,doubled input",
      "c,doubled,squared input",
      "squared,y features",
      expect.stringMatching(/^squared,abs_\d+ features$/),
    ]);
    expect(split.outputs.map((output) => output.name)).toEqual(["root", "squared"]);
  });

  it("are refused with a reason where a sequence would cross", () => {
    const { split, table } = opened(withSequence());
    expect(split.outputs.map((output) => output.name)).toEqual(["y"]);
    expect(table.cuts.map((cut) => present(cut.crossing[0]).name)).toEqual(["a", "joined"]);
    expect(() => segmentOf(split, table, "start", "c2")).toThrow(
      expect.objectContaining({
        reason: "unknown-cut",
        message: 'cut c2 cannot be used, because these tensors cannot travel: "parts" is a sequence',
      }),
    );
  });

  it("are unknown where there is none", () => {
    const { split, table } = opened(withSequence());
    for (const [from, to] of [
      ["start", "c9"],
      ["start", "../x"],
      ["c3", "c1"],
      ["c1", "c1"],
      ["end", "c1"],
      ["c1", "start"],
    ] as const) {
      expect(() => segmentOf(split, table, from, to)).toThrow(
        expect.objectContaining({ reason: "unknown-cut" }),
      );
    }
  });
});
