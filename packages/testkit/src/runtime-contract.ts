import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  float32Tensor,
  float32View,
  LongshoreError,
  numericTensor,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import { childCall, housekeepingCall } from "@longshore/core/internal";
import type { Artifact, Runtime } from "@longshore/engine";

/** The parts that a runtime brings to its contract test. */
export interface RuntimeUnderTest {
  readonly runtime: Runtime;
  /** `y = x`, FP32 `[rows, 3]`. */
  readonly identity: Artifact;
  /** A run that takes long enough to be interrupted, on `feeds`, with the output to fetch. */
  readonly slow: { readonly artifact: Artifact; readonly feeds: Tensors; readonly fetch: string };
  /** Bytes that are no model. */
  readonly invalid: Artifact;
  /** Lets the runtime's time pass until `promise` settles. */
  finish<T>(promise: Promise<T>): Promise<T>;
}

const call = housekeepingCall("contract");
const threeByTwo = (): Tensors => tensorsOf(float32Tensor("x", [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6)));

function numbers(tensors: Tensors, name: string): readonly number[] {
  const tensor = tensors.get(name);
  return tensor ? [...float32View(tensor)] : [];
}

/** The contract of every `Runtime` and its sessions (`engine/runtime/runtime.ts`). */
export function runtimeContract(name: string, make: () => Promise<RuntimeUnderTest>): void {
  describe(`runtime contract: ${name}`, () => {
    let parts: RuntimeUnderTest;
    beforeAll(async () => {
      parts = await make();
    });
    afterAll(() => parts.runtime.close());

    const load = (artifact: Artifact): ReturnType<Runtime["load"]> =>
      parts.finish(parts.runtime.load(artifact, {}, call));

    it("declares inputs and outputs with their datatypes and ranks", async () => {
      const session = await load(parts.identity);
      expect(session.inputs.map(({ name, datatype }) => [name, datatype])).toEqual([["x", "FP32"]]);
      expect(session.outputs.map(({ name, datatype }) => [name, datatype])).toEqual([["y", "FP32"]]);
      expect(session.inputs[0]?.shape).toEqual([-1, 3]);
      await session.release();
    });

    it("runs, leaves borrowed inputs alone and gives outputs under their names", async () => {
      const session = await load(parts.identity);
      const feeds = threeByTwo();
      const outputs = await parts.finish(session.run(feeds, ["y"], call));
      expect(outputs.get("y")?.spec).toMatchObject({ name: "y", datatype: "FP32", shape: [2, 3] });
      expect(numbers(outputs, "y")).toEqual([1, 2, 3, 4, 5, 6]);
      expect(numbers(feeds, "x")).toEqual([1, 2, 3, 4, 5, 6]);
      await session.release();
    });

    it("refuses a wrong datatype, shape or rank, a missing and an unknown input before the runtime sees them", async () => {
      const session = await load(parts.identity);
      const wrong: readonly Tensors[] = [
        tensorsOf(numericTensor("x", "INT32", [2, 3], new Int32Array(6))),
        tensorsOf(float32Tensor("x", [3, 2], new Float32Array(6))),
        tensorsOf(float32Tensor("x", [6], new Float32Array(6))),
        new Map(),
        new Map([...threeByTwo(), ["z", float32Tensor("z", [1], new Float32Array(1))]]),
      ];
      for (const feeds of wrong) {
        await expect(session.run(feeds, ["y"], call)).rejects.toMatchObject({ reason: "invalid-input" });
      }
      await expect(session.run(threeByTwo(), ["nothing"], call)).rejects.toMatchObject({
        reason: "invalid-input",
      });
      expect((await parts.finish(session.run(threeByTwo(), ["y"], call))).size).toBe(1);
      await session.release();
    });

    it("refuses bytes that are no model", async () => {
      await expect(load(parts.invalid)).rejects.toMatchObject({ reason: "invalid-model" });
    });

    it("rejects at once when the call ends mid-run, stays busy until the run ends, and then runs again", async () => {
      const { artifact, feeds, fetch } = parts.slow;
      const session = await load(artifact);
      const { call: child, cancel } = childCall(call);
      const running = session.run(feeds, [fetch], child);
      cancel(new LongshoreError("cancelled", "execute", "the test lost interest"));
      await expect(running).rejects.toMatchObject({ reason: "cancelled" });
      await parts.finish(session.idle());
      expect((await parts.finish(session.run(feeds, [fetch], call))).has(fetch)).toBe(true);
      await session.release();
    });

    it("runs one after another when two runs are requested at once", async () => {
      const { artifact, feeds, fetch } = parts.slow;
      const session = await load(artifact);
      const order: number[] = [];
      const first = session.run(feeds, [fetch], call).then(() => order.push(1));
      const second = session.run(feeds, [fetch], call).then(() => order.push(2));
      await parts.finish(Promise.all([first, second]));
      expect(order).toEqual([1, 2]);
      await session.release();
    });

    it("refuses a call that has ended before anything runs", async () => {
      const session = await load(parts.identity);
      const { call: child, cancel } = childCall(call);
      cancel(new LongshoreError("cancelled", "execute", "already over"));
      await expect(session.run(threeByTwo(), ["y"], child)).rejects.toMatchObject({ reason: "cancelled" });
      await session.release();
    });

    it("releases once, waits for a run under way, and refuses runs afterwards", async () => {
      const { artifact, feeds, fetch } = parts.slow;
      const session = await load(artifact);
      let ran = false;
      const running = session.run(feeds, [fetch], call).then(() => void (ran = true));
      const released = session.release();
      await parts.finish(Promise.all([running, released]));
      expect(ran).toBe(true);
      await session.release();
      await expect(session.run(feeds, [fetch], call)).rejects.toMatchObject({ reason: "run-failed" });
    });
  });
}
