import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bytesTensor,
  float32Tensor,
  float32View,
  numericTensor,
  numericView,
  tensorsOf,
  textElements,
} from "@longshore/core";
import { padAxes, resized } from "./padding.ts";

const buckets = {
  axes: [{ sizes: [4, 8], inputs: { ids: 1, mask: 1 }, outputs: { hidden: 1 }, fill: 0 }],
};
const ids = (length: number): ReturnType<typeof numericTensor> =>
  numericTensor(
    "ids",
    "INT64",
    [1, length],
    BigInt64Array.from({ length }, (_, index) => BigInt(index + 1)),
  );

describe("padding axes", () => {
  it("fills inputs up to the next size and cuts outputs back", () => {
    const { feeds, cut } = padAxes(tensorsOf(ids(3)), buckets);
    expect(feeds.get("ids")?.spec.shape).toEqual([1, 4]);
    expect([...(numericView(feeds.get("ids")!) as BigInt64Array)]).toEqual([1n, 2n, 3n, 0n]);
    const hidden = float32Tensor(
      "hidden",
      [1, 4, 2],
      Float32Array.from({ length: 8 }, (_, index) => index),
    );
    const out = cut(tensorsOf(hidden)).get("hidden")!;
    expect(out.spec.shape).toEqual([1, 3, 2]);
    expect([...float32View(out)]).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("leaves sizes alone that fit, and those beyond the largest", () => {
    for (const length of [4, 8, 9]) {
      expect(padAxes(tensorsOf(ids(length)), buckets).feeds.get("ids")?.spec.shape).toEqual([1, length]);
    }
  });

  it("refuses inputs of one axis that disagree", () => {
    const mask = numericTensor("mask", "INT64", [1, 2], BigInt64Array.of(1n, 1n));
    expect(() => padAxes(tensorsOf(ids(3), mask), buckets)).toThrow(
      expect.objectContaining({ reason: "invalid-input" }) as Error,
    );
  });

  it("is undone by cutting, for any axis, sizes and datatype", () => {
    const shapes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 2, maxLength: 4 });
    fc.assert(
      fc.property(shapes, fc.nat(), fc.integer({ min: 0, max: 5 }), fc.boolean(), (shape, at, more, text) => {
        const axis = at % shape.length;
        const count = shape.reduce((product, size) => product * size, 1);
        const tensor = text
          ? bytesTensor(
              "x",
              Array.from({ length: count }, (_, index) => `v${index}`),
              shape,
            )
          : float32Tensor(
              "x",
              shape,
              Float32Array.from({ length: count }, (_, index) => index + 1),
            );
        const size = shape[axis]!;
        const wide = resized(tensor, axis, size + more, text ? 0 : 7);
        expect(wide.spec.shape[axis]).toBe(size + more);
        const back = resized(wide, axis, size, 0);
        if (text) expect(textElements(back)).toEqual(textElements(tensor));
        else expect([...float32View(back)]).toEqual([...float32View(tensor)]);
      }),
    );
  });
});
