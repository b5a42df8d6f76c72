import { expect, it } from "vitest";
import { leftMs, loadTimes } from "./load-times.ts";

it("assumes a speed until something was loaded, then expects the same again, and of other graphs as long as their bytes take here", () => {
  const times = loadTimes();
  expect(times.expectedMs("a", 50_000_000, 0)).toBeCloseTo(1050, 0);
  times.took("a", 50_000_000, 4050);
  expect(times.expectedMs("a", 50_000_000, 0)).toBe(4050);
  expect(times.expectedMs("b", 50_000_000, 0)).toBeGreaterThan(3900);
  times.took("a", 50_000_000, 2050);
  expect(times.expectedMs("a", 50_000_000, 0)).toBe(3050);
});

it("counts the fetching of what is not here", () => {
  const times = loadTimes();
  const hereMs = times.expectedMs("a", 5_000_000, 0);
  expect(times.expectedMs("a", 5_000_000, 2_500_000)).toBeCloseTo(hereMs + 1000, 6);
  // How much is not known yet: all of it.
  expect(times.expectedMs("a", 5_000_000, Infinity)).toBeCloseTo(hereMs + 2000, 6);
});

it("expects a load that takes longer than expected to take a quarter of its time more", () => {
  expect(leftMs(1000, 300)).toBe(700);
  expect(leftMs(1000, 2000)).toBe(500);
});
