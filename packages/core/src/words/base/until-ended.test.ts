import { manualClock } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { housekeepingCall } from "./call.ts";
import { untilAborted, untilEnded } from "./until-ended.ts";
import { neverAborted } from "./when-aborted.ts";

const never = new Promise<number>(() => undefined);

describe("untilAborted", () => {
  it("settles as the work does", async () => {
    const { signal } = new AbortController();
    expect(await untilAborted(Promise.resolve(3), signal, "execute")).toBe(3);
    await expect(untilAborted(Promise.reject(new Error("no")), signal, "execute")).rejects.toThrow("no");
    expect(await untilAborted(Promise.resolve(4), neverAborted, "execute")).toBe(4);
  });

  it("rejects when the signal fires, or has fired, and drops what the work does then", async () => {
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
