import fc from "fast-check";
import { expect, test } from "vitest";
import { ocrAccuracy } from "./ocr-accuracy.ts";

test("every wrong, missing and surplus character counts once", () => {
  expect(ocrAccuracy(["OAT MILK", "2.19"], ["OAT MILK", "2.19"])).toBe(1);
  expect(ocrAccuracy(["OAT MILK", "2.19"], ["OATMILK", "2.79"])).toBeCloseTo(1 - 2 / 12);
  expect(ocrAccuracy(["OAT MILK", "2.19"], ["OAT MILK"])).toBeCloseTo(1 - 4 / 12);
  expect(ocrAccuracy(["OAT MILK", "2.19"], ["OAT MILK", "2.19", "##"])).toBeCloseTo(1 - 2 / 12);
});

test("the order of lines, full-width forms and typographic quotes do not matter", () => {
  expect(ocrAccuracy(["left", "right"], ["right", "left"])).toBe(1);
  expect(ocrAccuracy(["f(x): don't"], ["f（x）： don’t"])).toBe(1);
});

test("nothing to read is right only when nothing was read", () => {
  expect(ocrAccuracy([], [])).toBe(1);
  expect(ocrAccuracy([], ["x"])).toBe(0);
  expect(ocrAccuracy(["a"], ["completely else"])).toBe(0);
});

test("it lies between 0 and 1, and is 1 for any reordering of the truth", () => {
  const lines = fc.array(fc.string({ maxLength: 12 }), { maxLength: 8 });
  fc.assert(
    fc.property(lines, lines, (truth, read) => {
      const accuracy = ocrAccuracy(truth, read);
      expect(accuracy).toBeGreaterThanOrEqual(0);
      expect(accuracy).toBeLessThanOrEqual(1);
      expect(ocrAccuracy(truth, truth.toReversed())).toBe(1);
    }),
  );
});
