import { LongshoreError, tensorsOf } from "@longshore/core";
import { housekeepingCall, joinElements } from "@longshore/core/internal";
import { laneContract, manualClock } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { defineTransform, pureTransforms, transformSet } from "../transform/index.ts";
import { inlineLane } from "./inline-lane.ts";

laneContract("inline", () => inlineLane(transformSet(...pureTransforms()), manualClock()));

/** A transform that does what the test says. */
const odd = (run: () => never | Promise<ReturnType<typeof tensorsOf>>): ReturnType<typeof defineTransform> =>
  defineTransform({ name: "odd", inputs: [], outputs: ["out"], parse: () => ({}), specs: () => [], run });
const chain = [{ id: "a", transform: "odd", parameters: {}, inputs: {} }];
const call = housekeepingCall("inline");

describe("inline lane", () => {
  it("stops between steps when the deadline has passed", async () => {
    const clock = manualClock();
    const waiting = odd(async () => {
      await clock.advance(50);
      return tensorsOf();
    });
    const lane = inlineLane(transformSet(waiting), clock);
    const late = { ...call, deadlineMs: clock.nowMs() + 40 };
    await expect(lane.run([...chain, ...chain], tensorsOf(), [], late)).rejects.toMatchObject({
      reason: "deadline-exceeded",
    });
    expect((await lane.run(chain, tensorsOf(), [], call)).tookMs).toEqual([50]);
  });

  it("waits on close for chains under way", async () => {
    let release = (): void => undefined;
    const lane = inlineLane(
      transformSet(odd(() => new Promise((resolve) => (release = () => resolve(tensorsOf()))))),
      manualClock(),
    );
    const running = lane.run(chain, tensorsOf(), [], call);
    let closed = false;
    const closing = lane.close().then(() => (closed = true));
    await Promise.resolve();
    expect(closed).toBe(false);
    release();
    await running;
    await closing;
    expect(closed).toBe(true);
  });

  it("wraps accidental errors of a transform, and reports when memory ran out", async () => {
    const failing = (thrown: unknown): Promise<unknown> =>
      inlineLane(
        transformSet(
          odd(() => {
            throw thrown;
          }),
        ),
        manualClock(),
      ).run(chain, tensorsOf(), [], call);
    await expect(failing(new TypeError("no such thing"))).rejects.toMatchObject({
      reason: "internal",
      message: "step a (odd) failed: no such thing",
    });
    await expect(failing(new RangeError("Array buffer allocation failed"))).rejects.toMatchObject({
      reason: "memory-limit",
    });
    const own = new LongshoreError("invalid-media", "execute", "broken");
    await expect(failing(own)).rejects.toBe(own);
  });

  it("notices a transform that leaves out an output for some element", async () => {
    const none = defineTransform({
      name: "odd",
      inputs: ["in"],
      outputs: ["out"],
      parse: () => ({}),
      specs: () => [{ name: "out", datatype: "FP32", shape: [1] }],
      run: () => tensorsOf(),
    });
    const two = joinElements(
      "x",
      [
        { spec: { name: "x", datatype: "UINT8", shape: [1] }, bytes: Uint8Array.of(1) },
        { spec: { name: "x", datatype: "UINT8", shape: [1] }, bytes: Uint8Array.of(2) },
      ],
      { datatype: "UINT8", shape: [1] },
    );
    const lane = inlineLane(transformSet(none), manualClock());
    await expect(
      lane.run(
        [{ id: "a", transform: "odd", parameters: {}, inputs: { in: "x" }, forEach: "x" }],
        tensorsOf(two),
        [],
        call,
      ),
    ).rejects.toMatchObject({ reason: "internal", message: "output out came from 0 of 2 runs" });
  });
});

describe("transform sets", () => {
  it("need transforms with different names", () => {
    const one = odd(() => Promise.resolve(tensorsOf()));
    expect(() => transformSet(one, one)).toThrowError(
      expect.objectContaining({ reason: "invalid-configuration" }),
    );
  });
});
