import {
  bytesTensor,
  float32Tensor,
  float32View,
  numericTensor,
  type Tensor,
  tensorsOf,
  textElements,
} from "@longshore/core";
import { int32View, int64View } from "@longshore/core/internal";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Transform } from "../transform.ts";
import { cast } from "./cast.ts";
import { layout } from "./layout.ts";
import { nonMaximumSuppression, overlapRatio } from "./non-maximum-suppression.ts";
import { softmax } from "./softmax.ts";
import { threshold } from "./threshold.ts";
import { topK } from "./top-k.ts";

function run(
  transform: Transform<unknown>,
  parameters: unknown,
  ...inputs: readonly Tensor[]
): ReadonlyMap<string, Tensor> {
  return transform.run(tensorsOf(...inputs), transform.parse(parameters)) as ReadonlyMap<string, Tensor>;
}

const floats = (name: string, shape: readonly number[], ...values: readonly number[]): Tensor =>
  float32Tensor(name, shape, Float32Array.from(values));
const numbers = (tensor: Tensor | undefined): readonly number[] => [...float32View(tensor!)];
const badInput = expect.objectContaining({ reason: "invalid-input" }) as Error;
const badParameter = expect.objectContaining({ reason: "invalid-configuration" }) as Error;
const someFloats = fc.float32Array({ minLength: 1, maxLength: 24, min: -1000, max: 1000, noNaN: true });

describe("softmax", () => {
  it("adds up to 1 along its axis, in the order of its input", () => {
    fc.assert(
      fc.property(someFloats, (values) => {
        const out = numbers(
          run(softmax, {}, float32Tensor("tensor", [1, values.length], values)).get("tensor"),
        );
        expect(out.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 5);
        for (const [a, first] of values.entries()) {
          for (const [b, second] of values.entries()) {
            if (first > second) expect(out[a]).toBeGreaterThanOrEqual(out[b] ?? NaN);
          }
        }
      }),
    );
  });

  it("gives known values, without overflow, along any axis", () => {
    const out = run(softmax, {}, floats("tensor", [3], 1000, 1000 + Math.log(2), 1000)).get("tensor");
    for (const [index, value] of [0.25, 0.5, 0.25].entries())
      expect(numbers(out)[index]).toBeCloseTo(value, 4);
    const columns = run(softmax, { axis: 0 }, floats("tensor", [2, 2], 0, 5, Math.log(3), 5)).get("tensor");
    for (const [index, value] of [0.25, 0.5, 0.75, 0.5].entries()) {
      expect(numbers(columns)[index]).toBeCloseTo(value, 5);
    }
  });

  it("refuses an axis that is not there", () => {
    expect(() => run(softmax, { axis: 2 }, floats("tensor", [1, 2], 0, 1))).toThrowError(badInput);
  });
});

describe("top-k", () => {
  it("names the best classes of each row", () => {
    const scores = floats("scores", [2, 3], 0.1, 0.7, 0.2, 5, 5, NaN);
    const out = run(topK, { k: 2, labels: ["till", "shelf", "door"] }, scores);
    expect(textElements(out.get("labels")!)).toEqual(["shelf", "door", "till", "shelf"]);
    expect([...int32View(out.get("classes")!)]).toEqual([1, 2, 0, 1]);
    expect(numbers(out.get("scores"))).toEqual([Math.fround(0.7), Math.fround(0.2), 5, 5]);
    expect(out.get("labels")?.spec.shape).toEqual([2, 2]);
  });

  it("agrees with sorting", () => {
    fc.assert(
      fc.property(someFloats, fc.integer({ min: 1, max: 9 }), (values, k) => {
        const out = run(topK, { k }, float32Tensor("scores", [values.length], values));
        const sorted = [...values].sort((a, b) => b - a).slice(0, k);
        expect(numbers(out.get("scores")).map((value) => value + 0)).toEqual(
          sorted.map((value) => value + 0),
        );
        const classes = [...int32View(out.get("classes")!)];
        expect(new Set(classes).size).toBe(classes.length);
        for (const [rank, at] of classes.entries())
          expect((values[at] ?? NaN) + 0).toBe((sorted[rank] ?? NaN) + 0);
      }),
    );
  });

  it("takes pooled ends with axes of size 1, and refuses missing labels", () => {
    expect(run(topK, { k: 1 }, floats("scores", [1, 2, 1, 1], 0, 1)).get("classes")?.spec.shape).toEqual([
      1, 1,
    ]);
    expect(() => run(topK, { labels: ["one"] }, floats("scores", [2], 0, 1))).toThrowError(badInput);
    expect(() => run(topK, {}, floats("scores", [1, 2, 2], 0, 1, 2, 3))).toThrowError(badInput);
    expect(() => topK.parse({ labels: "one" })).toThrowError(badParameter);
  });
});

describe("threshold", () => {
  it("marks the values above", () => {
    const out = run(threshold, { above: 0.5 }, floats("scores", [2, 2], 0.4, 0.5, 0.6, NaN)).get("above");
    expect(out?.spec).toEqual({ name: "above", datatype: "BOOL", shape: [2, 2] });
    expect([...out!.bytes]).toEqual([0, 0, 1, 0]);
    expect(() => threshold.parse({})).toThrowError(badParameter);
  });
});

describe("layout", () => {
  it("moves, adds and drops axes", () => {
    const image = numericTensor("tensor", "UINT8", [1, 2, 3], Uint8Array.of(1, 2, 3, 4, 5, 6));
    const planes = run(layout, { from: "hwc", to: "nchw" }, image).get("tensor");
    expect(planes?.spec.shape).toEqual([1, 3, 1, 2]);
    expect([...planes!.bytes]).toEqual([1, 4, 2, 5, 3, 6]);
    expect(run(layout, { from: "hwc", to: "cw" }, image).get("tensor")?.spec.shape).toEqual([3, 2]);
    expect([...image.bytes]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("moves wide elements, and there and back gives the input", () => {
    const sizes = fc.integer({ min: 1, max: 4 });
    fc.assert(
      fc.property(
        fc.tuple(sizes, sizes, sizes, sizes),
        fc.shuffledSubarray(["a", "b", "c", "d"], { minLength: 4 }),
        (shape, axes) => {
          const values = BigInt64Array.from(
            { length: shape.reduce((a, b) => a * b) },
            (_, index) => BigInt(index) << 40n,
          );
          const tensor = numericTensor("tensor", "INT64", shape, values);
          const there = run(layout, { from: "abcd", to: axes.join("") }, tensor).get("tensor")!;
          expect(there.spec.shape).toEqual(axes.map((axis) => shape["abcd".indexOf(axis)]));
          const back = run(layout, { from: axes.join(""), to: "abcd" }, there).get("tensor")!;
          expect(int64View(back)).toEqual(values);
        },
      ),
    );
  });

  it("refuses axes that do not go with the tensor", () => {
    const tensor = floats("tensor", [2, 2], 1, 2, 3, 4);
    expect(() => run(layout, { from: "abc", to: "cba" }, tensor)).toThrowError(badInput);
    expect(() => run(layout, { from: "ab", to: "a" }, tensor)).toThrowError(badInput);
    expect(() =>
      run(layout, { from: "ab", to: "ba" }, bytesTensor("tensor", ["a", "b"], [1, 2])),
    ).toThrowError(badInput);
    expect(() => layout.parse({ from: "aa", to: "a" })).toThrowError(badParameter);
    const cut = {
      spec: { name: "tensor", datatype: "FP32" as const, shape: [2, 2] },
      bytes: new Uint8Array(12),
    };
    expect(() => run(layout, { from: "ab", to: "ba" }, cut)).toThrowError(badInput);
  });
});

describe("cast", () => {
  it("rounds and saturates to whole numbers, and scales", () => {
    const tensor = floats("tensor", [5], -300, 1.4, 1.6, 300, NaN);
    expect([...run(cast, { datatype: "UINT8" }, tensor).get("tensor")!.bytes]).toEqual([0, 1, 2, 255, 0]);
    expect(
      [...new Int8Array(run(cast, { datatype: "INT8" }, tensor).get("tensor")!.bytes)].slice(0, 4),
    ).toEqual([-128, 1, 2, 127]);
    const scaled = run(cast, { datatype: "INT64", scale: 10, offset: 1 }, tensor).get("tensor");
    expect([...int64View(scaled!)]).toEqual([-2999n, 15n, 17n, 3001n, 0n]);
    expect([...run(cast, { datatype: "BOOL" }, floats("tensor", [2], 0, 0.1)).get("tensor")!.bytes]).toEqual([
      0, 1,
    ]);
  });

  it("goes through halves and back", () => {
    const half = run(cast, { datatype: "FP16" }, floats("tensor", [2], 1.5, -0.25)).get("tensor");
    expect(half?.bytes.byteLength).toBe(4);
    expect(numbers(run(cast, { datatype: "FP32" }, half!).get("tensor"))).toEqual([1.5, -0.25]);
  });

  it("refuses texts and types that it cannot make", () => {
    expect(() => run(cast, { datatype: "FP32" }, bytesTensor("tensor", ["1"]))).toThrowError(badInput);
    expect(() => cast.parse({ datatype: "BYTES" })).toThrowError(badParameter);
  });
});

describe("non-maximum suppression", () => {
  const boxes = floats(
    "boxes",
    [5, 4],
    10,
    10,
    60,
    60,
    12,
    12,
    62,
    62,
    100,
    100,
    150,
    150,
    60,
    60,
    110,
    110,
    11,
    60,
    61,
    110,
  );
  const scores = floats("scores", [5], 0.9, 0.8, 0.7, 0.6, 0.55);

  it("keeps the same boxes as OpenCV", () => {
    const out = run(nonMaximumSuppression, { minScore: 0.3 }, boxes, scores);
    const kept = [0, 2, 3, 4];
    expect(numbers(out.get("scores"))).toEqual(kept.map((at) => numbers(scores)[at]));
    expect(numbers(out.get("boxes"))).toEqual(kept.flatMap((at) => numbers(boxes).slice(at * 4, at * 4 + 4)));
  });

  it("lets classes overlap unless configured otherwise, with scores either way round", () => {
    const two = floats("boxes", [1, 2, 4], 0, 0, 10, 10, 0, 0, 10, 9);
    const byBox = floats("scores", [1, 2, 2], 0.9, 0.1, 0.2, 0.8);
    const byClass = floats("scores", [1, 2, 2], 0.9, 0.2, 0.1, 0.8);
    for (const [values, scoresLayout] of [
      [byBox, "boxes-first"],
      [byClass, "classes-first"],
    ] as const) {
      const out = run(nonMaximumSuppression, { scoresLayout }, two, values);
      expect([...int32View(out.get("classes")!)]).toEqual([0, 1]);
    }
    const alone = run(nonMaximumSuppression, { perClass: false }, two, byBox);
    expect([...int32View(alone.get("classes")!)]).toEqual([0]);
  });

  it("turns centres and sizes into edges", () => {
    const out = run(
      nonMaximumSuppression,
      { format: "cxcywh" },
      floats("boxes", [1, 4], 10, 20, 4, 8),
      floats("scores", [1], 1),
    );
    expect(numbers(out.get("boxes"))).toEqual([8, 16, 12, 24]);
  });

  it("gives boxes that do not overlap too much, best first, and drops none without a better one in its way", () => {
    const box = fc.tuple(
      fc.nat(20),
      fc.nat(20),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 12 }),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(box, fc.nat(100)), { maxLength: 14 }), (given) => {
        const edges = given.flatMap(([[left, top, wide, tall]]) => [left, top, left + wide, top + tall]);
        const all = floats("boxes", [given.length, 4], ...edges);
        const scored = floats("scores", [given.length], ...given.map(([, score]) => score / 100));
        const out = run(nonMaximumSuppression, { minScore: 0.2, maxOverlap: 0.3 }, all, scored);
        const kept = Float64Array.from(numbers(out.get("boxes")));
        const keptScores = numbers(out.get("scores"));
        expect([...keptScores].sort((a, b) => b - a)).toEqual(keptScores);
        for (let a = 0; a < keptScores.length; a++) {
          for (let b = 0; b < a; b++) expect(overlapRatio(kept, a, b)).toBeLessThanOrEqual(0.3);
        }
        for (const [index, score] of numbers(scored).entries()) {
          if (score < Math.fround(0.2)) continue;
          const together = Float64Array.from([...kept, ...edges.slice(index * 4, index * 4 + 4)]);
          const reasons = keptScores.filter(
            (other, at) => other >= score && overlapRatio(together, at, keptScores.length) > 0.3,
          );
          const itself = keptScores.some(
            (other, at) => other === score && overlapRatio(together, at, keptScores.length) === 1,
          );
          expect(reasons.length > 0 || itself).toBe(true);
        }
      }),
    );
  });

  it("keeps at most its limit, and gives empty tensors for nothing", () => {
    expect(run(nonMaximumSuppression, { maxBoxes: 2 }, boxes, scores).get("boxes")?.spec.shape).toEqual([
      2, 4,
    ]);
    const none = run(nonMaximumSuppression, {}, floats("boxes", [0, 4]), floats("scores", [0]));
    expect(none.get("boxes")?.spec.shape).toEqual([0, 4]);
  });

  it("refuses shapes that do not go together", () => {
    const nms = (...inputs: readonly Tensor[]): unknown => run(nonMaximumSuppression, {}, ...inputs);
    expect(() => nms(floats("boxes", [2, 3], 1, 2, 3, 4, 5, 6), floats("scores", [2], 1, 1))).toThrowError(
      badInput,
    );
    expect(() => nms(boxes, floats("scores", [3], 1, 1, 1))).toThrowError(badInput);
    expect(() =>
      nms(
        floats("boxes", [2, 4], ...Array.from({ length: 8 }, () => 1)),
        floats("scores", [3, 2], 1, 1, 1, 1, 1, 1),
      ),
    ).toThrowError(badInput);
    expect(() => nonMaximumSuppression.parse({ maxOverlap: 2 })).toThrowError(badParameter);
  });
});
