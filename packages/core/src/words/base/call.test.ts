import { describe, expect, it } from "vitest";
import { abortError, LongshoreError } from "./error.ts";
import { childCall, housekeepingCall, leastTrust, ownCall, SpareControllers, zoneWithin } from "./call.ts";
import { checkCall } from "./deadline.ts";
import { neverAborted, whenAborted } from "./when-aborted.ts";
import { sleep } from "./clock.ts";
import type { Call } from "./call.ts";
import type { Clock } from "./clock.ts";

function stoppedClock(now: number): Clock & { fire(): void } {
  const waiting: (() => void)[] = [];
  return {
    nowMs: () => now,
    wallMs: () => now,
    timer: (_delay, fire) => {
      waiting.push(fire);
      return { [Symbol.dispose]: () => void waiting.splice(waiting.indexOf(fire), 1) };
    },
    fire: () => waiting.splice(0).forEach((one) => one()),
  };
}

describe("own calls", () => {
  // A field that is added to calls does not compile until it is here, and fails until it is copied.
  const full: Required<Call> = {
    id: "1",
    abort: neverAborted,
    deadlineMs: 5,
    tenant: "t",
    rules: { dataClass: "secret", leastTrust: "operated", zones: ["eu"], confirm: true },
    path: ["a"],
    trace: { traceId: "1".repeat(32), spanId: "2".repeat(16), sampled: true },
    idempotencyKey: "key",
    rights: ["infer"],
    priority: 2,
    queueTimeoutMs: 7,
    mostWaitMs: 3,
    maxCostMicros: 9,
    goal: "cost",
    user: "u",
  };

  it("have every field of the call", () => {
    expect(ownCall(full)).toStrictEqual(full);
    const plain = housekeepingCall("2");
    expect(ownCall(plain)).toStrictEqual(plain);
  });

  it("may be changed without changing the call", () => {
    const own = ownCall(full);
    own.tenant = "other";
    expect(full.tenant).toBe("t");
  });
});

describe("zones and trust", () => {
  it("a rule allows everything inside its zone and nothing beside it", () => {
    expect(zoneWithin("eu/de/store-7", ["eu/de"])).toBe(true);
    expect(zoneWithin("eu/de", ["eu/de"])).toBe(true);
    expect(zoneWithin("eu/delft", ["eu/de"])).toBe(false);
    expect(zoneWithin("us", ["eu"])).toBe(false);
    expect(zoneWithin("device", ["eu"])).toBe(true);
    expect(zoneWithin("eu", [])).toBe(false);
  });

  it("the least trust of a path is its weakest endpoint", () => {
    expect(leastTrust("vouched", "listed")).toBe("listed");
    expect(leastTrust("none", "operated")).toBe("none");
  });
});

describe("calls", () => {
  it("a child ends with its parent, or alone", () => {
    const controller = new AbortController();
    const parent = housekeepingCall("p", controller.signal);
    const alone = childCall(parent);
    alone.cancel(new LongshoreError("cancelled", "execute", "lost the race"));
    expect(alone.call.abort.aborted).toBe(true);
    expect(parent.abort.aborted).toBe(false);
    const both = childCall(parent, { id: "c" });
    controller.abort();
    expect(both.call.abort.aborted).toBe(true);
    expect(both.call.id).toBe("c");
  });

  it("a child takes a spare controller, which is used again only if it was not fired and has no listener", () => {
    const spare = new SpareControllers();
    const parent = new AbortController();
    const child = (): ReturnType<typeof childCall> =>
      childCall(housekeepingCall("p", parent.signal), {}, spare);
    const first = child();
    const { abort } = first.call;
    first[Symbol.dispose]();
    // A call whose work has ended ends nothing any more.
    first.cancel(new LongshoreError("cancelled", "execute", "too late"));
    expect(abort.aborted).toBe(false);
    const second = child();
    expect(second.call.abort).toBe(abort);
    const heard: string[] = [];
    const stopListening = whenAborted(abort, () => heard.push("second"));
    second[Symbol.dispose]();
    const third = child();
    expect(third.call.abort).not.toBe(abort);
    stopListening();
    third.cancel(new LongshoreError("cancelled", "execute", "lost the race"));
    const fired = third.call.abort;
    third[Symbol.dispose]();
    const fourth = child();
    expect([fired, abort]).not.toContain(fourth.call.abort);
    parent.abort();
    expect(fourth.call.abort.aborted).toBe(true);
    expect(heard).toEqual([]);
  });

  it("a call that ended or is late is refused with the right reason", () => {
    const clock = stoppedClock(100);
    expect(() => checkCall({ ...housekeepingCall("c"), deadlineMs: 99 }, clock, "queue")).toThrow(
      expect.objectContaining({ reason: "deadline-exceeded", stage: "queue", code: "DEADLINE_EXCEEDED" }),
    );
    const controller = new AbortController();
    controller.abort();
    expect(() => checkCall(housekeepingCall("c", controller.signal), clock, "queue")).toThrow(
      expect.objectContaining({ reason: "cancelled" }),
    );
    expect(abortError(controller.signal, "plan").retryable).toBe(false);
  });

  it("sleep ends by the clock or by the abort", async () => {
    const clock = stoppedClock(0);
    const slept = sleep(clock, 5);
    clock.fire();
    await slept;
    const controller = new AbortController();
    const aborted = sleep(clock, 5, controller.signal);
    controller.abort(new LongshoreError("cancelled", "execute", "stop"));
    await expect(aborted).rejects.toMatchObject({ reason: "cancelled" });
  });
});

describe("LongshoreError", () => {
  it("wraps other thrown values and passes itself through", () => {
    const cause = new TypeError("x is undefined");
    const wrapped = LongshoreError.from(cause, "execute", "running the step detect");
    expect(wrapped).toMatchObject({ reason: "internal", code: "INTERNAL", cause });
    expect(LongshoreError.from(wrapped, "plan", "again")).toBe(wrapped);
    expect(LongshoreError.is(new Error("plain"))).toBe(false);
  });
});
