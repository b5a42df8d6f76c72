import { describe, expect, it } from "vitest";
import { float32Tensor, tensorsOf } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { manualClock, settle } from "./manual-clock.ts";
import { artifactOf, memoryFile, oneStage } from "./memory-model.ts";
import { memoryRuntime } from "./memory-runtime.ts";
import { runtimeContract } from "./runtime-contract.ts";

const x = { name: "x", datatype: "FP32", shape: [-1, 3] } as const;
const y = { ...x, name: "y" } as const;
const identity = (runMs: number): ReturnType<typeof oneStage> =>
  oneStage([x], [y], runMs, (feeds) => new Map([["y", feeds.get("x")!]]));

runtimeContract("memory", async () => {
  const clock = manualClock();
  return {
    runtime: memoryRuntime({ models: { identity: identity(1), slow: identity(500) }, clock }),
    identity: await artifactOf(memoryFile("identity")),
    slow: {
      artifact: await artifactOf(memoryFile("slow")),
      feeds: tensorsOf(float32Tensor("x", [1, 3], new Float32Array(3))),
      fetch: "y",
    },
    invalid: await artifactOf(Uint8Array.of(1, 2, 3)),
    finish: (promise) => clock.finish(promise),
  };
});

describe("manual clock", () => {
  it("fires timers in the order in which they are due, not of their making", async () => {
    const clock = manualClock();
    const fired: string[] = [];
    clock.timer(20, () => fired.push(`late at ${clock.nowMs()}`));
    clock.timer(10, () => fired.push(`early at ${clock.nowMs()}`));
    const cancelled = clock.timer(15, () => fired.push("never"));
    cancelled[Symbol.dispose]();
    await clock.advance(30);
    expect(fired).toEqual(["early at 10", "late at 20"]);
    expect(clock.nowMs()).toBe(30);
    expect(clock.armed()).toBe(0);
  });

  it("takes exactly the virtual time of a run", async () => {
    const clock = manualClock();
    const runtime = memoryRuntime({ models: { identity: identity(7) }, clock });
    const call = housekeepingCall("test");
    const session = await runtime.load(await artifactOf(memoryFile("identity")), {}, call);
    const run = session.run(tensorsOf(float32Tensor("x", [1, 3], new Float32Array(3))), ["y"], call);
    await clock.finish(run);
    await settle();
    expect(clock.nowMs()).toBe(7);
    expect(runtime.runs).toEqual(["identity 1"]);
    await runtime.close();
    expect(runtime.open()).toBe(0);
  });
});
