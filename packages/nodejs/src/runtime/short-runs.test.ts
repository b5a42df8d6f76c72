import { float32Tensor, numericTensor, tensorsOf, type Tensors, type TensorSpec } from "@longshore/core";
import { housekeepingCall, type Writable } from "@longshore/core/internal";
import { artifactOf, identityModel, loopModel, manualClock, onnxRuntimeContract } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { importOrt } from "./import-ort.ts";
import { onnxRuntime } from "./onnx-runtime.ts";
import { runnerRuntime } from "./runner-runtime.ts";
import type { ProviderSession } from "./runner-session.ts";
import { shortRunsHere } from "./short-runs.ts";
import { thisThreadLink } from "./this-thread-link.ts";

const call = housekeepingCall("short");

onnxRuntimeContract("a runner on the calling thread", () =>
  runnerRuntime({
    name: "here",
    backend: "native",
    providers: ["cpu"],
    open: thisThreadLink(importOrt),
    maxOutputBytes: 1024 ** 3,
    restarts: false,
  }),
);

const inputs = (size: number): Tensors => tensorsOf(float32Tensor("x", [size], new Float32Array(size)));

/** A session whose runs take as long as `tookMs` says, on a clock that only they move. */
function double(advance: (ms: number) => Promise<void>, tookMs: () => number) {
  let [runs, released] = [0, 0];
  const session: Writable<ProviderSession> = {
    inputs: [],
    outputs: [],
    provider: "cpu",
    passedOver: [],
    run: async (feeds) => {
      runs++;
      await advance(tookMs());
      return feeds;
    },
    idle: () => Promise.resolve(),
    release: () => Promise.resolve(void released++),
  };
  return { session, runs: () => runs, released: () => released };
}

function scene(
  whileOpening?: (run: (times: number) => Promise<void>) => Promise<void>,
  specs: readonly TensorSpec[] = [],
) {
  const clock = manualClock();
  const took = { worker: 0.2, here: 0.1 };
  const worker = double(clock.advance, () => took.worker);
  worker.session.inputs = specs;
  const here = double(clock.advance, () => took.here);
  let opened = 0;
  const session = shortRunsHere(worker.session, {
    clock,
    openHere: async () => {
      opened++;
      await whileOpening?.(run);
      return here.session;
    },
  });
  const run = async (times: number, size = 16): Promise<void> => {
    for (let index = 0; index < times; index++) await session.run(inputs(size), [], call);
  };
  return { session, took, worker, here, run, opened: () => opened };
}

describe("shortRunsHere", () => {
  it("takes runs to the calling thread once they have shown to be short", async () => {
    const { worker, here, run, opened } = scene();
    await run(24);
    expect([worker.runs(), here.runs(), opened()]).toEqual([24, 0, 1]);
    await run(10);
    expect([worker.runs(), here.runs(), opened()]).toEqual([24, 10, 1]);
  });

  it("is not put off by runs that waited for the loading", async () => {
    const { took, here, run } = scene(async (during) => {
      took.worker = 20;
      await during(1);
      took.worker = 0.2;
    });
    await run(24);
    await run(10);
    expect(here.runs()).toBeGreaterThan(5);
  });

  it("leaves larger inputs and runs that would wait to the worker", async () => {
    const { session, worker, here, run } = scene();
    await run(24);
    await run(3, 17);
    expect([worker.runs(), here.runs()]).toEqual([27, 0]);
    await Promise.all([session.run(inputs(16), [], call), session.run(inputs(16), [], call)]);
    expect([worker.runs(), here.runs()]).toEqual([28, 1]);
  });

  it("never takes long runs, nor inputs beyond a page, nor text", async () => {
    const { session, took, worker, here, run } = scene();
    took.worker = 0.8;
    await run(100);
    took.worker = 0.2;
    await run(100, 9000);
    const text = tensorsOf(numericTensor("x", "INT64", [1], BigInt64Array.of(1n)));
    const bytes = new Map(
      [...text].map(([name, one]) => [name, { ...one, spec: { ...one.spec, datatype: "BYTES" as const } }]),
    );
    for (let index = 0; index < 50; index++) await session.run(bytes, [], call);
    expect([worker.runs(), here.runs()]).toEqual([250, 0]);
  });

  it("bears a worker that is made to wait in the middle of every fifth run", async () => {
    const { took, here, run } = scene();
    for (let round = 0; round < 30; round++) {
      took.worker = 5;
      await run(1);
      took.worker = 0.2;
      await run(4);
    }
    expect(here.runs()).toBeGreaterThan(20);
  });

  it("uses the time inside the runtime, if it is reported", async () => {
    const { worker, took, here, run } = scene();
    took.worker = 5;
    worker.session.ranMs = 0.2;
    took.here = 5;
    here.session.ranMs = 0.2;
    await run(100);
    expect(here.runs()).toBeGreaterThan(70);
  });

  it("takes larger inputs here, too, once they have shown to be short in the worker", async () => {
    const { here, run } = scene();
    await run(24);
    await run(8, 64);
    expect(here.runs()).toBe(0);
    await run(5, 64);
    expect(here.runs()).toBe(5);
  });

  /** As `run`, with one whole number as the input. */
  async function counted(session: ProviderSession, times: number, value: number): Promise<void> {
    const feeds = tensorsOf(numericTensor("trips", "INT64", [], BigInt64Array.of(BigInt(value))));
    for (let index = 0; index < times; index++) await session.run(feeds, [], call);
  }

  it("leaves counts that are larger than those that were short to the worker, until they have shown to be short, too", async () => {
    const { session, worker, here } = scene(undefined, [{ name: "trips", datatype: "INT64", shape: [] }]);
    await counted(session, 24, 10);
    await counted(session, 5, 7);
    expect([worker.runs(), here.runs()]).toEqual([24, 5]);
    await counted(session, 1, 1_000_000);
    await counted(session, 1, -1_000_000);
    expect([worker.runs(), here.runs()]).toEqual([26, 5]);
    await counted(session, 6, 1_000_000);
    await counted(session, 5, 1_000_000);
    expect([worker.runs(), here.runs()]).toEqual([32, 10]);
  });

  it("follows counts that grow little by little, as long as their runs are short", async () => {
    const { session, took, worker, here } = scene(undefined, [
      { name: "trips", datatype: "INT64", shape: [] },
    ]);
    await counted(session, 24, 10);
    let value = 10;
    for (; value < 10_000; value *= 2) await counted(session, 1, value);
    expect(worker.runs()).toBe(24);
    const before = here.runs();
    took.here = 2;
    await counted(session, 1, value);
    took.here = 0.1;
    await counted(session, 1, 2 * value);
    expect([worker.runs(), here.runs()]).toEqual([25, before + 1]);
  });

  it("holds no thread with a loop whose trips the input says", async () => {
    const runtime = onnxRuntime({ shortRunsHere: true });
    const session = await runtime.load(await artifactOf(loopModel()), {}, call);
    await counted(session, 60, 10);
    // A million trips are a second and more: this thread goes on meanwhile.
    let turns = 0;
    const timer = setInterval(() => turns++, 5);
    await counted(session, 1, 1_000_000);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(5);
    await runtime.close();
  });

  it("goes back to the worker when they are short no more, and tries again much later", async () => {
    const { took, worker, here, run, opened } = scene();
    await run(24);
    took.here = 5;
    await run(30);
    expect(here.released()).toBe(1);
    const before = here.runs();
    expect(before).toBeLessThan(15);
    took.here = 0.1;
    await run(200);
    expect([here.runs(), opened()]).toEqual([before, 1]);
    await run(60);
    expect(opened()).toBe(2);
    expect(here.runs()).toBeGreaterThan(before);
    expect(worker.runs()).toBeGreaterThan(200);
  });

  it("bears cold first runs and single pauses", async () => {
    const { took, worker, here, run } = scene();
    await run(24);
    took.here = 30;
    await run(3);
    took.here = 0.1;
    await run(20);
    took.here = 100;
    await run(1);
    took.here = 0.1;
    await run(20);
    expect([worker.runs(), here.runs()]).toEqual([24, 44]);
  });

  it("frees both", async () => {
    const { session, worker, here, run } = scene();
    await run(30);
    await Promise.all([session.release(), session.release()]);
    expect([worker.released(), here.released()]).toEqual([1, 1]);
  });

  it("answers the same on the calling thread as in a worker, with a real graph", async () => {
    const runtime = onnxRuntime({ shortRunsHere: true });
    const session = await runtime.load(await artifactOf(identityModel("FP32")), {}, call);
    for (let index = 0; index < 60; index++) {
      const x = float32Tensor("x", [1, 2], Float32Array.of(index, -index));
      expect((await session.run(tensorsOf(x), [], call)).get("y")?.bytes).toEqual(x.bytes);
    }
    await runtime.close();
  });
});
