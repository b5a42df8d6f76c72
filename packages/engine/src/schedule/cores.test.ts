import { describe, expect, it } from "vitest";
import { type Call, float32Tensor, seededRandom, silentObserver, tensorsOf } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { artifactOf, manualClock, memoryFile, memoryRuntime, oneStage, settle } from "@longshore/testkit";
import { coresOf } from "./cores.ts";
import { openScheduler } from "./open-scheduler.ts";
import type { Scheduler } from "./scheduler-interface.ts";

const base = housekeepingCall("test");
const port = { name: "x", datatype: "FP32", shape: [-1, 1] } as const;

/** Graphs by name with the time of a run of each, on this many cores; instances where there are more than one. */
async function world(runMs: Readonly<Record<string, number>>, cores = 1, instances = 1) {
  const clock = manualClock();
  const models = Object.fromEntries(
    Object.entries(runMs).map(([name, ms]) => [
      name,
      oneStage(
        [port],
        [{ ...port, name: "y" }],
        () => ms,
        (feeds) => new Map([["y", feeds.get("x")!]]),
      ),
    ]),
  );
  const runtime = memoryRuntime({ models, clock });
  const shared = coresOf(cores, () => 1, clock);
  const open = async (name: string): Promise<Scheduler> => {
    const artifact = await artifactOf(memoryFile(name));
    return openScheduler({
      name,
      opens: Array.from({ length: instances }, () => (call: Call) => runtime.load(artifact, {}, call)),
      batching: { maxBatchSize: 0 },
      maxQueued: 100,
      cores: shared,
      clock,
      random: seededRandom(1),
      observer: silentObserver,
    });
  };
  const schedulers = new Map<string, Scheduler>();
  for (const name of Object.keys(runMs)) schedulers.set(name, await open(name));
  const scheduler = (name: string): Scheduler => schedulers.get(name)!;
  /** When it is done, and what it waited. */
  const ask = async (name: string, call: Partial<Call> = {}) => {
    const feeds = tensorsOf(float32Tensor("x", [1, 1], new Float32Array(1)));
    const { queueMs } = await scheduler(name).run(feeds, ["y"], { ...base, ...call });
    return { name, endMs: clock.nowMs(), queueMs };
  };
  /** Runs were seen: how long they take is known. */
  const warm = async (): Promise<void> => {
    for (const name of schedulers.keys()) for (let run = 0; run < 4; run++) await clock.finish(ask(name));
  };
  return { clock, ask, warm, scheduler };
}

describe("graphs that share cores", () => {
  it("run one after another on one core, in any order of arrival before", async () => {
    const { clock, ask } = await world({ a: 10, b: 10, c: 10 });
    const all = ["a", "b", "c", "a", "b"].map((name) => ask(name));
    const done = await clock.finish(Promise.all(all));
    expect(done.map(({ endMs }) => endMs)).toEqual([10, 20, 30, 40, 50]);
  });

  it("run at once on as many cores as there are", async () => {
    const { clock, ask } = await world({ a: 10, b: 10, c: 10 }, 2);
    const done = await clock.finish(Promise.all(["a", "b", "c"].map((name) => ask(name))));
    expect(done.map(({ endMs }) => endMs)).toEqual([10, 10, 20]);
  });

  it("have as many runs under way as the configured instances", async () => {
    const { clock, ask } = await world({ a: 10, b: 10 }, 1, 3);
    const done = await clock.finish(Promise.all(["a", "a", "a", "b"].map((name) => ask(name))));
    expect(done.map(({ endMs }) => endMs)).toEqual([10, 10, 10, 20]);
  });

  it("let the earliest deadline run first, in any graph, and the more urgent class before it", async () => {
    const { clock, ask } = await world({ a: 10, b: 10, c: 10, d: 10 });
    const order: string[] = [];
    const asked = [
      ask("a"),
      ask("b"),
      ask("c", { deadlineMs: 900 }),
      ask("d", { deadlineMs: 500 }),
      ask("d", { deadlineMs: 400 }),
    ].map((one) => one.then(({ name }) => order.push(name)));
    await clock.finish(Promise.all(asked));
    expect(order).toEqual(["a", "d", "d", "c", "b"]);
  });

  it("serve a tenant of one graph beside another's flood of another graph", async () => {
    const { clock, ask, warm } = await world({ a: 10, b: 10 });
    await warm();
    const startMs = clock.nowMs();
    const flood = Array.from({ length: 40 }, () => ask("a", { tenant: "heavy" }));
    await settle();
    const light = Array.from({ length: 4 }, () => ask("b", { tenant: "light" }));
    const done = await clock.finish(Promise.all(light));
    // Shared evenly the fourth is done after eight runs; a burst of what it saved up may come sooner.
    expect(done.at(-1)!.endMs - startMs).toBeLessThanOrEqual(90);
    await clock.finish(Promise.all(flood));
  });

  it("let a short run go beside a long one, one at a time", async () => {
    const { clock, ask, warm } = await world({ long: 400, short: 5, other: 5 });
    await warm();
    const startMs = clock.nowMs();
    const long = ask("long");
    await settle();
    const done = await clock.finish(Promise.all([ask("short"), ask("other")]));
    expect(done.map(({ endMs }) => endMs - startMs)).toEqual([5, 10]);
    expect((await clock.finish(long)).endMs - startMs).toBe(400);
  });

  it("do not wait for ever for a run that takes far longer than it should", async () => {
    const { clock, ask } = await world({ stuck: 1e6, other: 10 });
    const stuck = ask("stuck");
    await settle();
    const done = await clock.finish(Promise.all([ask("other"), ask("other")]));
    expect(done.map(({ endMs }) => endMs)).toEqual([2010, 2020]);
    await clock.finish(stuck);
  });

  it("do not wait longer because others that may take long were under way before", async () => {
    const { clock, ask } = await world({ one: 1000, two: 1000, stuck: 1e6, away: 1e6, other: 10 }, 2);
    for (let run = 0; run < 4; run++) {
      await clock.finish(ask("one"));
      await clock.finish(ask("two"));
    }
    const startMs = clock.nowMs();
    const all = ["one", "two", "stuck", "away"].map((name) => ask(name));
    const { endMs } = await clock.finish(ask("other"));
    expect(endMs - startMs).toBe(3010);
    await clock.finish(Promise.all(all));
  });

  it("forecast the waiting work of other graphs: all of their own tenant's, their share of other tenants'", async () => {
    const { clock, ask, warm, scheduler } = await world({ a: 10, b: 10 });
    await warm();
    const asker = { deadlineMs: Infinity, tenant: base.tenant };
    expect(scheduler("b").expected(1, asker).waitMs).toBe(0);
    expect(scheduler("b").load().queueMs).toBe(0);
    const all = Array.from({ length: 5 }, () => ask("a"));
    await settle();
    expect(scheduler("b").expected(1, asker).waitMs).toBe(50);
    expect(scheduler("b").load().queueMs).toBe(50);
    expect(scheduler("b").expected(1, { ...asker, tenant: "other" }).waitMs).toBe(10);
    await clock.finish(Promise.all(all));
  });

  it("go on when one of them is unloaded while it waits, or its request is given up", async () => {
    const { clock, ask, scheduler } = await world({ a: 10, b: 10, c: 10 });
    const controller = new AbortController();
    const a = ask("a");
    const b = ask("b", { abort: controller.signal });
    const c = ask("c");
    await settle();
    controller.abort(new Error("given up"));
    await expect(b).rejects.toBeDefined();
    await clock.finish(scheduler("b").drain());
    const [, last] = await clock.finish(Promise.all([a, c]));
    expect(last.endMs).toBe(20);
  });
});
