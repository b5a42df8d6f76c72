import { afterEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "./system-clock.ts";
import { systemRandom } from "./system-random.ts";

afterEach(() => void vi.useRealTimers());

describe("systemClock", () => {
  it("fires once, never synchronously, and not after it was disposed", () => {
    vi.useFakeTimers();
    const fired: string[] = [];
    const clock = systemClock();
    clock.timer(-5, () => fired.push("due"));
    clock.timer(0, () => fired.push("disposed"))[Symbol.dispose]();
    expect(fired).toEqual([]);
    vi.advanceTimersByTime(10);
    expect(fired).toEqual(["due"]);
  });

  it("waits out delays that are longer than one timer of the platform, and for ever", () => {
    vi.useFakeTimers();
    const fired: string[] = [];
    const clock = systemClock();
    clock.timer(2 ** 32, () => fired.push("due"));
    clock.timer(Infinity, () => fired.push("never"));
    vi.advanceTimersByTime(2 ** 32 - 1);
    expect(fired).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(fired).toEqual(["due"]);
  });

  it("only goes forward", () => {
    const clock = systemClock();
    const first = clock.nowMs();
    expect(clock.nowMs()).toBeGreaterThanOrEqual(first);
    expect(Math.abs(clock.wallMs() - Date.now())).toBeLessThan(60_000);
  });
});

describe("systemRandom", () => {
  it("draws from [0, 1), differently each time, evenly enough for 8 bins (chi-square, p = 1e-6)", () => {
    const random = systemRandom();
    const bins = Array.from({ length: 8 }, () => 0);
    const seen = new Set<number>();
    for (let draw = 0; draw < 8000; draw++) {
      const value = random.next();
      expect(value).toBeGreaterThanOrEqual(0);
      expect(value).toBeLessThan(1);
      seen.add(value);
      const bin = Math.floor(value * 8);
      bins[bin] = (bins[bin] ?? 0) + 1;
    }
    expect(seen.size).toBe(8000);
    const chiSquare = bins.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    expect(chiSquare).toBeLessThan(40.5);
  });
});
