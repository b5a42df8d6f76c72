import { manualClock } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { housekeepingCall } from "./call.ts";
import { LongshoreError } from "./error.ts";
import { untilDeadline, untilEnded, withTime } from "./deadline.ts";
import { untilAborted } from "./until-aborted.ts";
import { neverAborted } from "./when-aborted.ts";

const never = new Promise<number>(() => undefined);

describe("untilAborted", () => {
  it("settles as the work does", async () => {
    const { signal } = new AbortController();
    expect(await untilAborted(Promise.resolve(3), signal, "execute")).toBe(3);
    await expect(untilAborted(Promise.reject(new Error("no")), signal, "execute")).rejects.toThrow("no");
    expect(await untilAborted(Promise.resolve(4), neverAborted, "execute")).toBe(4);
  });

  it("rejects when the signal fires, or has fired, and drops the work's later result", async () => {
    const control = new AbortController();
    const waiting = untilAborted(never, control.signal, "queue");
    control.abort();
    await expect(waiting).rejects.toMatchObject({ reason: "cancelled", stage: "queue" });
    const late = Promise.reject(new Error("dropped"));
    await expect(untilAborted(late, control.signal, "queue")).rejects.toMatchObject({ reason: "cancelled" });
  });
});

describe("untilEnded", () => {
  it("rejects when the deadline passes, and leaves no timer when the work is done", async () => {
    const clock = manualClock();
    const call = { ...housekeepingCall("one"), deadlineMs: 10 };
    expect(await untilEnded(Promise.resolve(3), call, clock, "execute")).toBe(3);
    await clock.advance(0);
    expect(clock.armed()).toBe(0);
    const waiting = untilEnded(never, call, clock, "execute");
    const told = expect(waiting).rejects.toMatchObject({ reason: "deadline-exceeded", stage: "execute" });
    await clock.advance(10);
    await told;
  });
});

describe("a call that ends at its deadline", () => {
  const late = (): LongshoreError => new LongshoreError("deadline-exceeded", "execute", "too late");

  it("ends with the error that was named for it, and leaves its parent alone", async () => {
    const clock = manualClock();
    const parent = { ...housekeepingCall("a"), deadlineMs: clock.nowMs() + 100 };
    using own = untilDeadline(parent, clock, late);
    await clock.advance(99);
    expect(own?.call.abort.aborted).toBe(false);
    await clock.advance(2);
    expect(own?.call.abort.reason).toMatchObject({ message: "too late" });
    expect(parent.abort.aborted).toBe(false);
  });

  it("is undefined where there is no deadline, and has a time of its own where one is named", async () => {
    const clock = manualClock();
    const parent = housekeepingCall("a");
    expect(untilDeadline(parent, clock, late)).toBeUndefined();
    using own = withTime(parent, clock, 50, late);
    expect(own.call.deadlineMs).toBe(clock.nowMs() + 50);
    await clock.advance(51);
    expect(own.call.abort.aborted).toBe(true);
  });

  it("is not ended any more once its work has ended", async () => {
    const clock = manualClock();
    const own = withTime(housekeepingCall("a"), clock, 50, late);
    own[Symbol.dispose]();
    await clock.advance(100);
    expect(own.call.abort.aborted).toBe(false);
  });
});
