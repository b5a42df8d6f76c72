import { expect, it } from "vitest";
import { payback } from "./payback.ts";

/** Frames that are planned until a part is worth loading that saves `savedMs` of every so many; undefined where it never is. */
function framesUntil(savedMs: number, loadMs: number, every = 1): number | undefined {
  const book = payback();
  for (let frame = 0; frame < 5000; frame++) {
    book.passed("m");
    if (frame % every === 0 && book.notYet("m", "c1", savedMs, loadMs) === undefined) return frame;
  }
  return undefined;
}

it("has a part loaded once what frames of late would have saved by it pays for loading", () => {
  // Nothing is known of loading it: it is tried.
  expect(framesUntil(1, 0)).toBe(0);
  expect(framesUntil(40, 1500)).toBeLessThan(10);
  expect(framesUntil(10, 1500)).toBeLessThan(40);
  expect(framesUntil(1, 1500)).toBeUndefined();
  expect(framesUntil(Infinity, 1e9)).toBe(0);
});

it("counts the frames that do as well without it, and says what it would save", () => {
  expect(framesUntil(10, 1500, 10)).toBeUndefined();
  const book = payback();
  book.passed("m");
  expect(book.notYet("m", "c1 at edge", 32, 1500)).toBe(
    "c1 at edge would save 1.0 ms a frame and is not worth loading for about 1500 ms",
  );
  // A loss without it is no saving of another one, nor of a later one.
  expect(book.notYet("m", "c2 at edge", -5, 1500)).toContain("c2 at edge would save 0.0 ms");
  // Nor do frames of other models count.
  for (let frame = 0; frame < 64; frame++) {
    book.passed("m");
    book.passed("other");
  }
  expect(book.notYet("m", "c1 at edge", 0, 1500)).toContain("c1 at edge would save 0.1 ms");
});
