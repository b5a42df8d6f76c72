import { describe, expect, it } from "vitest";
import { sleep } from "@longshore/core/internal";
import { virtualClock } from "./virtual-clock.ts";

describe("virtualClock", () => {
  it("fires in order of time, then of making, and moves no further than the command", async () => {
    const clock = virtualClock({ startMs: 100 });
    const fired: string[] = [];
    const note = (name: string) => () => fired.push(`${name}@${clock.nowMs()}`);
    clock.timer(20, note("c"));
    clock.timer(10, note("a"));
    clock.timer(10, note("b"));
    clock.timer(21, note("late"));
    clock.timer(15, note("never"))[Symbol.dispose]();
    await clock.advance(20);
    expect(fired).toEqual(["a@110", "b@110", "c@120"]);
    expect(clock.nowMs()).toBe(120);
    expect(clock.pending).toBe(1);
    expect(clock.wallMs() - virtualClock().wallMs()).toBe(20);
  });

  it("lets chains of promises of any depth finish between two events", async () => {
    const clock = virtualClock();
    const seen: number[] = [];
    const deep = async (left: number): Promise<void> => (left > 0 ? deep(left - 1) : Promise.resolve());
    const worker = async (): Promise<void> => {
      for (let round = 0; round < 5; round++) {
        await sleep(clock, 10);
        await deep(500);
        seen.push(clock.nowMs());
      }
    };
    clock.timer(15, () => seen.push(-15));
    await clock.runUntil(worker());
    expect(seen).toEqual([10, -15, 20, 30, 40, 50]);
  });

  it("never fires synchronously, and fires timers that timers make", async () => {
    const clock = virtualClock();
    let fired = 0;
    clock.timer(0, () => {
      fired += 1;
      clock.timer(0, () => (fired += 1));
    });
    expect(fired).toBe(0);
    await clock.runUntilIdle();
    expect(fired).toBe(2);
    expect(clock.nowMs()).toBe(0);
  });

  it("finds a deadlock at once, and a loop that never rests", async () => {
    const clock = virtualClock();
    await expect(clock.runUntil(new Promise(() => undefined))).rejects.toMatchObject({ reason: "internal" });
    const again = (): void => void clock.timer(1, again);
    again();
    await expect(clock.runUntilIdle({ maxEvents: 50 })).rejects.toMatchObject({ reason: "internal" });
  });

  it("hands back the rejection of the work", async () => {
    const clock = virtualClock();
    const work = sleep(clock, 5).then(() => Promise.reject(new Error("no")));
    await expect(clock.runUntil(work)).rejects.toThrow("no");
  });

  it("stands still while real threads work", async () => {
    const clock = virtualClock();
    const at: number[] = [];
    const work = async (): Promise<void> => {
      await sleep(clock, 10);
      const digest = await clock.during(crypto.subtle.digest("SHA-256", new Uint8Array(1_000_000)));
      at.push(clock.nowMs(), digest.byteLength);
    };
    clock.timer(11, () => at.push(-11));
    await clock.runUntil(work());
    await clock.runUntilIdle();
    expect(at).toEqual([10, 32, -11]);
  });

  it("stops at the bound and is driven by one at a time", async () => {
    const clock = virtualClock();
    let fired = 0;
    clock.timer(5, () => (fired += 1));
    clock.timer(50, () => (fired += 1));
    const run = clock.runUntilIdle({ untilMs: 10 });
    await expect(clock.advance(1)).rejects.toMatchObject({ reason: "internal" });
    await run;
    expect(fired).toBe(1);
  });

  it("keeps order over many timers", async () => {
    const clock = virtualClock();
    const due: number[] = [];
    let seed = 12345;
    for (let index = 0; index < 500; index++) {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      const atMs = seed % 1000;
      const timer = clock.timer(atMs, () => due.push(clock.nowMs()));
      if (index % 7 === 0) timer[Symbol.dispose]();
    }
    await clock.runUntilIdle();
    expect(due).toHaveLength(500 - 72);
    expect(due).toEqual(due.toSorted((a, b) => a - b));
  });
});
