import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TimerQueue } from "./timer-queue.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("TimerQueue", () => {
  it("fires in the order in which they are due, and of one instant in the order in which they were set", () => {
    const queue = new TimerQueue();
    const fired: string[] = [];
    const set = (delayMs: number, name: string): Disposable => queue.add(delayMs, () => fired.push(name));
    set(30, "c");
    set(10, "a");
    set(30, "d");
    set(20, "b");
    vi.advanceTimersByTime(9);
    expect(fired).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(fired).toEqual(["a"]);
    vi.advanceTimersByTime(100);
    expect(fired).toEqual(["a", "b", "c", "d"]);
  });

  it("agrees with a sorted list whatever is set and taken back, and sets no timer of the platform for each", () => {
    const platform = vi.spyOn(globalThis, "setTimeout");
    const queue = new TimerQueue();
    const fired: number[] = [];
    const due: { readonly at: number; readonly delayMs: number }[] = [];
    for (let at = 0; at < 2000; at++) {
      const delayMs = 1 + ((at * 7919) % 997);
      const one = queue.add(delayMs, () => fired.push(at));
      if (at % 3 === 0) one[Symbol.dispose]();
      else due.push({ at, delayMs });
    }
    const set = platform.mock.calls.length;
    vi.advanceTimersByTime(1000);
    expect(fired).toEqual(due.sort((a, b) => a.delayMs - b.delayMs || a.at - b.at).map(({ at }) => at));
    expect(set).toBeLessThan(20);
  });

  it("goes on with the others when one throws, and fires what is set meanwhile", () => {
    const queue = new TimerQueue();
    const fired: string[] = [];
    queue.add(5, () => {
      queue.add(5, () => fired.push("later"));
      throw new Error("of one");
    });
    queue.add(5, () => fired.push("other"));
    expect(() => vi.advanceTimersByTime(6)).toThrow("of one");
    vi.advanceTimersByTime(20);
    expect(fired).toEqual(["other", "later"]);
  });

  it("does not call again at once who looks too early and waits for less than a millisecond more", () => {
    const queue = new TimerQueue();
    let looks = 0;
    const look = (): void => {
      looks++;
      if (looks < 50) queue.add(0.5, look);
    };
    queue.add(0.5, look);
    vi.advanceTimersByTime(1);
    expect(looks).toBe(1);
    vi.advanceTimersByTime(5);
    expect(looks).toBe(6);
  });

  it("keeps the program alive while something waits, and no longer", () => {
    vi.useRealTimers();
    const alive = (): number =>
      process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length;
    const before = alive();
    const queue = new TimerQueue();
    const one = queue.add(50_000, () => undefined);
    expect(alive()).toBe(before + 1);
    one[Symbol.dispose]();
    one[Symbol.dispose]();
    expect(alive()).toBe(before);
    const other = queue.add(60_000, () => undefined);
    expect(alive()).toBe(before + 1);
    other[Symbol.dispose]();
    expect(alive()).toBe(before);
  });

  it("forgets what was taken back long before it is due", () => {
    vi.useRealTimers();
    const queue = new TimerQueue();
    const kept = queue.add(90_000, () => undefined);
    for (let at = 0; at < 10_000; at++) queue.add(60_000, () => undefined)[Symbol.dispose]();
    expect(queue.size).toBeLessThan(200);
    kept[Symbol.dispose]();
  });
});
