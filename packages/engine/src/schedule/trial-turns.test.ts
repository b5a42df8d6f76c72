import { describe, expect, it } from "vitest";
import {
  float32Tensor,
  float32View,
  type LongshoreEvent,
  seededRandom,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import {
  artifactOf,
  manualClock,
  type ManualClock,
  memoryFile,
  memoryRuntime,
  type MemoryRuntime,
  oneStage,
  settle,
} from "@longshore/testkit";
import { coresOf } from "./cores.ts";
import { openScheduler } from "./open-scheduler.ts";
import { rowSamples } from "./row-samples.ts";
import type { Scheduler } from "./scheduler-interface.ts";

const call = housekeepingCall("test");
const x = { name: "x", datatype: "FP32", shape: [-1, 2] } as const;
const feeds = (rows: number, value = 1): Tensors =>
  tensorsOf(float32Tensor("x", [rows, 2], new Float32Array(rows * 2).fill(value)));

/** A scheduler of one instance whose runs take `runMs` for each row. */
async function bench(
  runMs: number,
): Promise<{ clock: ManualClock; scheduler: Scheduler; runtime: MemoryRuntime; events: LongshoreEvent[] }> {
  const clock = manualClock();
  const events: LongshoreEvent[] = [];
  const doubler = oneStage(
    [x],
    [{ ...x, name: "y" }],
    (given) => runMs * (given.get("x")?.spec.shape[0] ?? 0),
    (given) => {
      const input = given.get("x")!;
      return new Map([
        [
          "y",
          float32Tensor(
            "y",
            input.spec.shape,
            float32View(input).map((one) => one * 2),
          ),
        ],
      ]);
    },
  );
  const runtime = memoryRuntime({ models: { m: doubler }, clock });
  const artifact = await artifactOf(memoryFile("m"));
  const scheduler = await openScheduler({
    name: "m",
    opens: [(load) => runtime.load(artifact, {}, load)],
    batching: { maxBatchSize: 0 },
    maxQueued: 100,
    cores: coresOf(1, () => 1, clock),
    clock,
    random: seededRandom(7),
    observer: { record: (event) => void events.push(event) },
  });
  return { clock, scheduler, runtime, events };
}

describe("trial runs", () => {
  it("begin at once where nothing else runs, and are no batches of requests", async () => {
    const { clock, scheduler, events } = await bench(50);
    const { outputs, ranMs } = await clock.finish(scheduler.tryOut(feeds(3)));
    expect(outputs.get("y")?.spec.shape).toEqual([3, 2]);
    expect(ranMs).toBe(150);
    expect(events.filter(({ kind }) => kind.startsWith("batch-"))).toEqual([]);
  });

  it("wait for calm where they are long", async () => {
    const { clock, scheduler, runtime } = await bench(50);
    const served = Promise.all(Array.from({ length: 4 }, () => scheduler.run(feeds(1), [], call)));
    const tried = scheduler.tryOut(feeds(2));
    await clock.finish(served);
    expect(runtime.runs).toEqual(["m 1", "m 1", "m 1", "m 1"]);
    await clock.finish(tried);
    expect(runtime.runs.at(-1)).toBe("m 2");
    expect(clock.nowMs()).toBeGreaterThanOrEqual(4 * 50 + 2 * 50);
  });

  it("go between requests where they are short, and take a tenth of the time at most", async () => {
    const { clock, scheduler, runtime } = await bench(0.2);
    await clock.finish(scheduler.tryOut(feeds(1)));
    const stop = new AbortController();
    const client = async (): Promise<void> => {
      while (!stop.signal.aborted) await scheduler.run(feeds(1), [], call);
    };
    const load = Promise.all([client(), client()]);
    const tries = (async () => {
      for (let run = 0; run < 10; run++) await scheduler.tryOut(feeds(2));
      stop.abort();
    })();
    await clock.finish(Promise.all([load, tries]));
    const own = runtime.runs.filter((run) => run === "m 2").length;
    expect(own).toBe(10);
    expect(runtime.runs.length - own).toBeGreaterThan(9 * 10);
  });

  it("are refused once the graph is unloaded, which waits for the one under way", async () => {
    const { clock, scheduler } = await bench(50);
    const first = scheduler.tryOut(feeds(1));
    const drained = scheduler.drain();
    await expect(scheduler.tryOut(feeds(1))).rejects.toMatchObject({ reason: "shutting-down" });
    await clock.finish(first);
    await clock.finish(drained);
    expect(clock.armed()).toBe(0);
  });
});

describe("joinUpTo", () => {
  it("joins requests of a tenant from then on", async () => {
    const { clock, scheduler, runtime } = await bench(1);
    await clock.finish(scheduler.run(feeds(1), [], call));
    scheduler.joinUpTo(4);
    const all = Promise.all(Array.from({ length: 9 }, () => scheduler.run(feeds(1), [], call)));
    await clock.finish(all);
    expect(runtime.runs.slice(1)).toEqual(["m 1", "m 4", "m 4"]);
  });
});

describe("samples of rows", () => {
  it("are of one tenant and shape, each once, and end after some requests", async () => {
    const samples = rowSamples();
    expect(samples.offer(feeds(2, 1), "a")).toBe(true);
    samples.offer(feeds(1, 2), "b");
    samples.offer(tensorsOf(float32Tensor("x", [1, 3], Float32Array.of(1, 2, 3))), "a");
    for (let request = 0; request < 30; request++) samples.offer(feeds(1, 3), "a");
    await settle();
    const rows = await samples.rows;
    expect(rows.map((row) => float32View(row.get("x")!)[0])).toEqual([1, 3]);
    expect(samples.offer(feeds(1, 4), "a")).toBe(false);
  });
});
