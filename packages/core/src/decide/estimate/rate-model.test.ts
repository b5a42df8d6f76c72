import { describe, expect, it } from "vitest";
import { linkModel } from "./rate-model.ts";

describe("linkModel", () => {
  it("knows of each row of its table where nothing can be done yet, which readers leave out", () => {
    const { cumulative, firstCell, rows, times } = linkModel().table;
    const cells = times.length;
    let left = 0;
    for (let row = 0; row < rows; row++) {
      const first = firstCell[row]!;
      for (let cell = 0; cell < cells; cell++) {
        expect(cumulative[row * cells + cell]! > 0, `row ${row}, cell ${cell}`).toBe(cell >= first);
      }
      expect(first).toBeGreaterThanOrEqual(firstCell[row - 1] ?? 0);
      left += first;
    }
    expect(left / (rows * cells)).toBeGreaterThan(0.3);
  });
});
