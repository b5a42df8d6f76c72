import { setMaxListeners } from "node:events";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Batching,
  type Call,
  float32Tensor,
  float32View,
  LongshoreError,
  type LongshoreEvent,
  seededRandom,
  type Tensors,
  tensorsOf,
} from "@longshore/core";
import { childCall, housekeepingCall } from "@longshore/core/internal";
import {
  artifactOf,
  manualClock,
  type ManualClock,
  memoryFile,
  type MemoryModel,
  memoryRuntime,
  type MemoryRuntime,
  oneStage,
  settle,
} from "@longshore/testkit";
import type { InferenceSession } from "../runtime/index.ts";
import { coresOf } from "./cores.ts";
import type { OpenSession } from "./instance.ts";
import { type OpenParts, openScheduler } from "./open-scheduler.ts";
import { rateLimiter } from "./rate-limiter.ts";
import type { Requester, Scheduler } from "./scheduler-interface.ts";

const base = housekeepingCall("test");
/** The calls of a test share one signal, which many requests listen to. */
setMaxListeners(0, base.abort);
const x = { name: "x", datatype: "FP32", shape: [-1, 2] } as const;

/** Doubles each value; a run takes `runMs` of its rows. */
const doubler = (runMs: (rows: number) => number): MemoryModel =>
  oneStage(
    [x],
    [{ ...x, name: "y" }],
    (feeds) => runMs(feeds.get("x")?.spec.shape[0] ?? 0),
    (feeds) => {
      const { spec, bytes } = feeds.get("x")!;
      const values = float32View({ spec, bytes }).map((value) => value * 2);
      return new Map([["y", float32Tensor("y", spec.shape, values)]]);
    },
  );

interface Bench {
  readonly clock: ManualClock;
  readonly scheduler: Scheduler;
  readonly runtime: MemoryRuntime;
  readonly events: LongshoreEvent[];
}

interface BenchOptions extends Partial<OpenParts> {
  readonly beforeRun?: (model: string) => void;
  readonly instances?: number;
  readonly open?: OpenSession;
  /** The duration of each turn of the loop. Default 0. */
  readonly turnMs?: number;
}

async function bench(runMs: (rows: number) => number, options: BenchOptions = {}): Promise<Bench> {
  const { instances = 1, turnMs = 0 } = options;
  const exact = manualClock();
  const clock = { ...exact, timer: (ms: number, fire: () => void) => exact.timer(ms + turnMs, fire) };
  const events: LongshoreEvent[] = [];
  const runtime = memoryRuntime({
    models: { m: doubler(runMs) },
    clock,
    ...(options.beforeRun ? { beforeRun: options.beforeRun } : {}),
  });
  const artifact = await artifactOf(memoryFile("m"));
  const { open = (call: Call) => runtime.load(artifact, {}, call) } = options;
  const scheduler = await openScheduler({
    name: "m",
    opens: Array.from({ length: instances }, () => open),
    batching: { maxBatchSize: 0 },
    maxQueued: 100,
    cores: coresOf(1, () => 1, clock),
    clock,
    random: seededRandom(7),
    observer: { record: (event) => void events.push(event) },
    ...options,
  });
  return { clock, scheduler, runtime, events };
}

const feeds = (value: number, rows = 1): Tensors =>
  tensorsOf(float32Tensor("x", [rows, 2], new Float32Array(rows * 2).fill(value)));
const until = (deadlineMs: number, tenant = "t"): Call => ({ ...base, deadlineMs, tenant });
const due = (deadlineMs: number, tenant = base.tenant): Requester => ({ deadlineMs, tenant });
const firstOf = (outputs: Tensors): number => float32View(outputs.get("y")!)[0] ?? NaN;

/** Rows of the last runs when this many clients each send again as soon as they have an answer. */
async function rowsOfRuns(
  clients: number,
  runMs: (rows: number) => number,
  turnsOf: (client: number) => number = () => 0,
): Promise<readonly string[]> {
  const { clock, scheduler, runtime } = await bench(runMs, { batching: { maxBatchSize: 16 } });
  const turn = (): Promise<void> => new Promise((resolve) => clock.timer(0, resolve));
  const client = async (_: unknown, own: number): Promise<void> => {
    for (let asked = 0; asked < 40; asked++) {
      await scheduler.run(feeds(asked), ["y"], base);
      for (let turns = turnsOf(own); turns > 0; turns--) await turn();
    }
  };
  await clock.finish(Promise.all(Array.from({ length: clients }, client)));
  return runtime.runs.slice(-12);
}

describe("clients that send again after each answer", () => {
  it("never wait for company where there is one of them, also after runs that took long", async () => {
    let runs = 0;
    // As on a machine that was busy for a while.
    const runMs = (rows: number): number => (rows > 1 ? 0.1 : ++runs % 8 < 3 ? 8 : 0.1);
    const { clock, scheduler } = await bench(runMs, { batching: { maxBatchSize: 16 } });
    for (let run = 0; run < 4; run++) await clock.finish(scheduler.run(feeds(1, 2), ["y"], base));
    let waitedMs = 0;
    for (let asked = 0; asked < 200; asked++) {
      const { queueMs } = await clock.finish(scheduler.run(feeds(asked), ["y"], base));
      waitedMs += queueMs;
    }
    expect(waitedMs).toBe(0);
  });

  it("share one short run, instead of two groups taking turns", async () => {
    const runs = await rowsOfRuns(8, (rows) => 0.3 + rows * 0.01);
    expect(runs.filter((run) => run === "m 8").length).toBeGreaterThan(9);
  });

  it("share one also where a turn of the event loop brings some of them and the next one the others", async () => {
    const runs = await rowsOfRuns(
      8,
      (rows) => 0.3 + rows * 0.01,
      (client) => client % 3,
    );
    expect(runs.filter((run) => run === "m 8").length).toBeGreaterThan(9);
  });

  it("are not awaited if shared resources would go to another graph meanwhile", async () => {
    const limiter = rateLimiter({ R: 1 });
    const [own, other] = ["m", "other"].map((name) => limiter.register(name, [{ name: "R", count: 1 }], 1));
    const { clock, scheduler, runtime } = await bench((rows) => 0.3 + rows * 0.01, {
      batching: { maxBatchSize: 16 },
      claims: [own],
    });
    const ask = (): Promise<unknown> => scheduler.run(feeds(1), ["y"], base);
    for (let asked = 0; asked < 8; asked++) await clock.finish(Promise.all([ask(), ask()]));
    const turns: string[] = [];
    const again = (): void => {
      if (other?.take(again) === true) turns.push("other");
    };
    // Now it is the other's turn, which has more to run after it.
    for (let turn = 0; turn < 20; turn++) {
      again();
      other?.give();
    }
    again();
    const first = ask();
    // Until it is in line.
    await clock.advance(0.01);
    turns.length = 0;
    const second = ask();
    other?.give();
    again();
    await settle();
    expect(turns).toEqual([]);
    await clock.finish(Promise.all([first, second]));
    expect(runtime.runs.at(-1)).toBe("m 2");
    expect(turns).toEqual(["other"]);
  });

  it("are not waited for where a run is worth more than that", async () => {
    const runs = await rowsOfRuns(8, (rows) => 30 + rows);
    expect(runs.filter((run) => run === "m 8").length).toBeLessThan(3);
  });
});

describe("queue", () => {
  it("serves the earliest deadline first, and equal ones in the order of arrival", async () => {
    const { clock, scheduler } = await bench(() => 10);
    const served: number[] = [];
    const all = [900, 500, 700, 500, Infinity].map((deadlineMs, index) =>
      scheduler.run(feeds(index), ["y"], until(deadlineMs)).then(() => served.push(index)),
    );
    await clock.finish(Promise.all(all));
    // The first began at once, because it was alone.
    expect(served).toEqual([0, 1, 3, 2, 4]);
    expect(clock.nowMs()).toBe(50);
  });

  it("gives each request its own outputs, wait and run time", async () => {
    const { clock, scheduler } = await bench(() => 10);
    const both = Promise.all([1, 2].map((value) => scheduler.run(feeds(value), ["y"], base)));
    const [first, second] = await clock.finish(both);
    expect([first, second].map((one) => one && firstOf(one.outputs))).toEqual([2, 4]);
    expect(first).toMatchObject({ queueMs: 0, runMs: 10, busyMs: 10 });
    expect(second).toMatchObject({ queueMs: 10, runMs: 10, busyMs: 10 });
  });

  it("runs as many at a time as there are instances", async () => {
    const { clock, scheduler } = await bench(() => 10, { instances: 3 });
    await clock.finish(Promise.all([1, 2, 3, 4].map((value) => scheduler.run(feeds(value), ["y"], base))));
    expect(clock.nowMs()).toBe(20);
  });

  it("keeps an instance busy until an abandoned run has ended, and drops its result", async () => {
    const { clock, scheduler } = await bench(() => 100);
    const { call, cancel } = childCall(base);
    const abandoned = scheduler.run(feeds(1), ["y"], call);
    await clock.advance(10);
    cancel(new LongshoreError("cancelled", "execute", "changed my mind"));
    await expect(abandoned).rejects.toMatchObject({ reason: "cancelled" });
    expect(scheduler.load()).toMatchObject({ inFlight: 1, cpuRatio: 1 });
    const next = scheduler.run(feeds(2), ["y"], base);
    await clock.advance(80);
    expect(scheduler.load().inFlight).toBe(2);
    const { queueMs } = await clock.finish(next);
    expect(queueMs).toBe(90);
    expect(clock.nowMs()).toBe(200);
  });

  it("learns nothing from a run that was given up before it began", async () => {
    const clock = manualClock();
    const runtime = memoryRuntime({ models: { m: doubler(() => 100) }, clock });
    const session = await runtime.load(await artifactOf(memoryFile("m")), {}, base);
    let begun = true;
    const copying: InferenceSession = {
      ...session,
      get begun() {
        return begun;
      },
    };
    const { scheduler, events } = await bench(() => 100, { clock, open: () => Promise.resolve(copying) });
    await clock.finish(scheduler.run(feeds(1), ["y"], base));
    begun = false;
    const { call, cancel } = childCall(base);
    const left = scheduler.run(feeds(1), ["y"], call);
    cancel(new LongshoreError("cancelled", "execute", "gone"));
    await expect(left).rejects.toMatchObject({ reason: "cancelled" });
    await clock.advance(200);
    expect(events.filter(({ kind }) => kind === "batch-run")).toHaveLength(1);
  });

  it("learns nothing from a shared run whose members left while their rows were joined", async () => {
    const { clock, scheduler, events, runtime } = await bench(() => 10, {
      batching: { maxBatchSize: 2 ** 20 },
    });
    const rows = 2 ** 18;
    const first = scheduler.run(feeds(1), ["y"], base);
    const calls = [childCall(base), childCall(base)];
    // Two megabytes each, which are copied in steps.
    const ends = calls.map(({ call }) => scheduler.run(feeds(1, rows), ["y"], call));
    await clock.finish(first);
    await settle();
    for (const { cancel } of calls) cancel(new LongshoreError("cancelled", "queue", "gone"));
    for (const end of ends) await expect(end).rejects.toMatchObject({ reason: "cancelled" });
    await clock.advance(100);
    expect(runtime.runs).toEqual(["m 1"]);
    expect(events.filter(({ kind }) => kind === "batch-started")).toHaveLength(2);
    expect(events.filter(({ kind }) => kind === "batch-run")).toHaveLength(1);
  });

  it("lets go of a request that is cancelled while it waits, without running it", async () => {
    const { clock, scheduler, runtime } = await bench(() => 10);
    const first = scheduler.run(feeds(1), ["y"], base);
    const { call, cancel } = childCall(base);
    const second = scheduler.run(feeds(2), ["y"], call);
    cancel(new LongshoreError("cancelled", "queue", "gone"));
    await expect(second).rejects.toMatchObject({ reason: "cancelled" });
    await clock.finish(first);
    await clock.advance(50);
    expect(runtime.runs).toHaveLength(1);
  });

  it("evicts requests that even the fastest run cannot serve in time, as soon as it is clear", async () => {
    const { clock, scheduler } = await bench(() => 10);
    // One run, or old ones, are no proof of what the fastest is.
    for (let seen = 0; seen < 3; seen++) await clock.finish(scheduler.run(feeds(0), ["y"], base));
    const running = scheduler.run(feeds(1), ["y"], base);
    const late = scheduler.run(feeds(2), ["y"], until(39));
    const tight = scheduler.run(feeds(3), ["y"], until(45));
    const outcomes = await clock.finish(Promise.allSettled([running, late, tight]));
    expect(
      outcomes.map((one) => (one.status === "rejected" ? (one.reason as LongshoreError).reason : "answered")),
    ).toEqual(["answered", "evicted", "evicted"]);
    // A request that returns then does not wait.
    expect(outcomes[2]).toMatchObject({ reason: { retryAfterMs: 1 } });
  });

  it("has an evicted request return when one with as much time would wait no longer than it may", async () => {
    const { clock, scheduler } = await bench(() => 10);
    for (let seen = 0; seen < 3; seen++) await clock.finish(scheduler.run(feeds(0), ["y"], base));
    const deadlines = [Infinity, 85, 85, 85, 85, 85, ...Array.from({ length: 8 }, () => 130)];
    const all = deadlines.map((deadlineMs) => scheduler.run(feeds(1), ["y"], until(deadlineMs)));
    const outcomes = await clock.finish(Promise.allSettled(all));
    const { reason } = outcomes[5] as PromiseRejectedResult & { readonly reason: LongshoreError };
    expect(reason.reason).toBe("evicted");
    // At 80 ms eight are left ahead of one with 55 ms, which may wait for 45. A run is expected to take slightly longer than it does.
    expect(reason.retryAfterMs).toBeGreaterThanOrEqual(35);
    expect(reason.retryAfterMs).toBeLessThanOrEqual(40);
  });
});

describe("admission", () => {
  it("refuses with queue-full above the limit, and admits again below it", async () => {
    const { scheduler } = await bench(() => 10, { maxQueued: 1 });
    const one = scheduler.admit(1, due(Infinity));
    using _two = scheduler.admit(1, due(Infinity));
    expect(() => scheduler.admit(1, due(Infinity))).toThrow(
      expect.objectContaining({ reason: "queue-full", retryAfterMs: 1 }) as Error,
    );
    one[Symbol.dispose]();
    scheduler.admit(1, due(Infinity))[Symbol.dispose]();
  });

  it("forecasts the wait for runs under way, waiting requests, and granted ones that have not come yet", async () => {
    const { clock, scheduler } = await bench(() => 10);
    await clock.finish(scheduler.run(feeds(0), ["y"], base));
    expect(scheduler.expected(1, due(Infinity))).toEqual({ waitMs: 0, runMs: 10, known: false });
    const running = scheduler.run(feeds(1), ["y"], base);
    const queued = scheduler.run(feeds(2), ["y"], base);
    using ticket = scheduler.admit(3, due(50));
    expect(scheduler.expected(1, due(Infinity)).waitMs).toBe(10 + 10 + 30);
    // Work with a later deadline does not stand before an urgent one.
    expect(scheduler.expected(1, due(20)).waitMs).toBe(10);
    ticket.expect(1);
    expect(scheduler.expected(1, due(Infinity)).waitMs).toBe(30);
    await clock.advance(4);
    expect(scheduler.load()).toMatchObject({ inFlight: 2, queueMs: 26 });
    await clock.finish(Promise.all([running, queued]));
  });
});

describe("batching", () => {
  const batching = { maxBatchSize: 4 } as const;

  it("joins waiting requests along axis 0 and gives each its own rows", async () => {
    const { clock, scheduler, runtime, events } = await bench(() => 10, { batching });
    const all = [1, 2, 3, 4, 5].map((value) => scheduler.run(feeds(value, value === 3 ? 2 : 1), ["y"], base));
    const outcomes = await clock.finish(Promise.all(all));
    expect(runtime.runs).toEqual(["m 1", "m 4", "m 1"]);
    expect(outcomes.map(({ outputs }) => firstOf(outputs))).toEqual([2, 4, 6, 8, 10]);
    expect(outcomes[2]?.outputs.get("y")?.spec.shape).toEqual([2, 2]);
    expect(outcomes[2]).toMatchObject({ runMs: 10, busyMs: 5 });
    const buffers = outcomes.map(({ outputs }) => outputs.get("y")!.bytes.buffer);
    expect(new Set(buffers).size).toBe(5);
    await settle();
    expect(events.filter(({ kind }) => kind === "batch-run")).toMatchObject([
      { size: 1 },
      { size: 4 },
      { size: 1 },
    ]);
    // A request that ran alone gets its outputs whole.
    expect(events.filter(({ kind }) => kind === "batch-parted")).toMatchObject([{ model: "m", size: 4 }]);
  });

  it("reports the time of joining large inputs, and of taking their outputs apart", async () => {
    // Copies of megabytes are made in steps, with a turn of the loop between them.
    const { clock, scheduler, events } = await bench(() => 10, {
      batching: { maxBatchSize: 2 ** 20 },
      turnMs: 1,
    });
    const rows = 2 ** 18;
    const all = [feeds(1), feeds(2, rows), feeds(3, rows)].map((one) => scheduler.run(one, ["y"], base));
    const outcomes = await clock.finish(Promise.all(all));
    expect(outcomes.map(({ outputs }) => firstOf(outputs))).toEqual([2, 4, 6]);
    await settle();
    const runs = events.filter((event) => event.kind === "batch-run");
    expect(runs.map(({ size }) => size)).toEqual([1, 2 * rows]);
    const [alone, joined] = runs;
    expect(alone?.inputMs).toBe(0);
    expect(joined?.inputMs).toBeGreaterThan(0);
    expect(joined?.inputMs).toBeLessThan(joined?.tookMs ?? 0);
    const [parted] = events.filter((event) => event.kind === "batch-parted");
    expect(parted).toMatchObject({ model: "m", size: 2 * rows, callIds: joined?.callIds });
    expect(parted?.tookMs).toBeGreaterThan(0);
  });

  it("reports how many shared a run lately, and how much one more adds to the queue", async () => {
    const { clock, scheduler } = await bench((rows) => 8 + 2 * rows, { batching });
    expect(scheduler.load().batch).toBeUndefined();
    const together = (count: number): Promise<unknown> =>
      clock.finish(
        Promise.all(Array.from({ length: count }, (_, value) => scheduler.run(feeds(value), ["y"], base))),
      );
    for (let round = 0; round < 4; round++) await together(1);
    expect(scheduler.load().batch).toEqual({ requests: 1, shareRatio: 1 });
    for (let round = 0; round < 60; round++) await together(5);
    const { requests = 0, shareRatio = 0 } = scheduler.load().batch ?? {};
    // Of five the first has a run of its own.
    expect(requests).toBeGreaterThan(3);
    expect(requests).toBeLessThan(4);
    expect(shareRatio).toBeGreaterThan(0.25);
    expect(shareRatio).toBeLessThan(0.35);
    const alone = await bench(() => 10);
    await alone.clock.finish(alone.scheduler.run(feeds(0), ["y"], base));
    expect(alone.scheduler.load().batch).toBeUndefined();
  });

  it("does not count requests whose run a new one would share as its wait", async () => {
    const { clock, scheduler } = await bench((rows) => 8 + 2 * rows, { batching });
    for (let round = 0; round < 12; round++) {
      const all = Array.from({ length: 5 }, (_, value) => scheduler.run(feeds(value), ["y"], base));
      await clock.finish(Promise.all(all));
    }
    const all = Array.from({ length: 3 }, (_, value) => scheduler.run(feeds(value), ["y"], base));
    expect(scheduler.load().queueMs).toBeCloseTo(10, 5);
    // The next run is full; the next request begins another.
    all.push(scheduler.run(feeds(0), ["y"], base), scheduler.run(feeds(0), ["y"], base));
    expect(scheduler.load().queueMs).toBeGreaterThanOrEqual(10 + 16);
    await clock.finish(Promise.all(all));
    // With two tenants, the tenant of the next request is unknown.
    for (const tenant of ["a", "a", "b"]) all.push(scheduler.run(feeds(0), ["y"], until(Infinity, tenant)));
    expect(scheduler.load().queueMs).toBeGreaterThan(10 + 10);
    await clock.finish(Promise.all(all));
  });

  it("never joins different tenants or different sizes", async () => {
    const { clock, scheduler, runtime } = await bench(() => 10, { batching });
    const wide = oneRow(3);
    const run = (call: Call, what: Tensors): Promise<unknown> => scheduler.run(what, ["y"], call);
    await clock.finish(
      Promise.allSettled([
        run(until(Infinity, "a"), feeds(1)),
        run(until(Infinity, "a"), feeds(2)),
        run(until(Infinity, "b"), feeds(3)),
        run(until(Infinity, "a"), wide),
      ]),
    );
    expect(runtime.runs).toEqual(["m 1", "m 1", "m 1"]);
  });

  it("learns that a size does not pay and stops using it", async () => {
    // Eight rows together take four times as long per row as one alone, two rows half as long.
    const { clock, scheduler, runtime } = await bench((rows) => (rows <= 2 ? 6 + 2 * rows : 32 * rows), {
      batching: { maxBatchSize: 8 },
    });
    for (let round = 0; round < 12; round++) {
      await clock.finish(scheduler.run(feeds(round), ["y"], base));
      const all = Array.from({ length: 9 }, (_, value) => scheduler.run(feeds(value), ["y"], base));
      await clock.finish(Promise.all(all));
    }
    const sizes = runtime.runs.map((line) => Number(line.split(" ")[1]));
    expect(sizes.filter((size) => size === 8).length).toBeLessThanOrEqual(3);
    expect(sizes.slice(-12).filter((size) => size > 2)).toEqual([]);
    expect(sizes.slice(-12)).toContain(2);
  });

  it("joins no more rows than lets the most urgent finish in time", async () => {
    const { clock, scheduler, runtime } = await bench((rows) => 10 * rows, { batching });
    await clock.finish(scheduler.run(feeds(0, 4), ["y"], base));
    await clock.finish(scheduler.run(feeds(0), ["y"], base));
    const blocker = scheduler.run(feeds(0), ["y"], base);
    const urgent = scheduler.run(feeds(1), ["y"], until(clock.nowMs() + 22));
    const others = [2, 3, 4].map((value) => scheduler.run(feeds(value), ["y"], base));
    await clock.finish(Promise.all([blocker, urgent, ...others]));
    expect(runtime.runs.slice(2)).toEqual(["m 1", "m 1", "m 3"]);
  });

  it("waits for a preferred size for as long as configured, and no longer", async () => {
    const { clock, scheduler, runtime } = await bench(() => 10, {
      batching: { maxBatchSize: 4, preferredSizes: [2], maxQueueDelayMs: 5 },
    });
    const alone = scheduler.run(feeds(1), ["y"], base);
    await clock.finish(alone);
    expect(clock.nowMs()).toBe(15);
    const first = scheduler.run(feeds(2), ["y"], base);
    await clock.advance(3);
    const second = scheduler.run(feeds(3), ["y"], base);
    expect(await clock.finish(first)).toMatchObject({ queueMs: 3 });
    await clock.finish(second);
    expect(runtime.runs).toEqual(["m 1", "m 2"]);
    expect(clock.armed()).toBe(0);
  });

  it("runs the members of a failed batch once more, each alone", async () => {
    let runs = 0;
    const { clock, scheduler, runtime } = await bench(() => 10, {
      batching,
      beforeRun: () => {
        runs++;
        if (runs === 2 || runs === 3) throw new LongshoreError("run-failed", "execute", "planted");
      },
    });
    const all = [1, 2, 3].map((value) => scheduler.run(feeds(value), ["y"], base));
    const outcomes = await clock.finish(Promise.allSettled(all));
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(outcomes[1]).toMatchObject({ reason: { reason: "run-failed" } });
    expect(runtime.runs).toEqual(["m 1", "m 2", "m 1", "m 1"]);
  });

  it("learns that a graph's outputs do not follow the batch axis", async () => {
    const sum: MemoryModel = oneStage([x], [{ name: "y", datatype: "FP32", shape: [1] }], 10, (feeds) => {
      const total = float32View(feeds.get("x")!).reduce((a, b) => a + b, 0);
      return new Map([["y", float32Tensor("y", [1], Float32Array.of(total))]]);
    });
    const clock = manualClock();
    const runtime = memoryRuntime({ models: { m: sum }, clock });
    const artifact = await artifactOf(memoryFile("m"));
    const { scheduler } = await bench(() => 0, {
      batching,
      clock,
      open: (call) => runtime.load(artifact, {}, call),
    });
    const all = [1, 2, 3].map((value) => scheduler.run(feeds(value), ["y"], base));
    const outcomes = await clock.finish(Promise.all(all));
    expect(outcomes.map(({ outputs }) => firstOf(outputs))).toEqual([2, 4, 6]);
    await clock.finish(Promise.all([4, 5].map((value) => scheduler.run(feeds(value), ["y"], base))));
    expect(runtime.runs.filter((line) => line === "m 2")).toHaveLength(1);
  });

  it.each([undefined, { axes: [], rows: [4] }])(
    "joins no rows to a request without any, and still joins others (buckets: %o)",
    async (buckets) => {
      const options: Batching = { maxBatchSize: 4, ...(buckets ? { buckets } : {}) };
      const { clock, scheduler, runtime } = await bench(() => 10, { batching: options });
      // Of several that wait, those with and without rows in both orders.
      const sizes = [1, 0, 3, 3, 0, 2];
      const all = sizes.map((rows, at) => scheduler.run(feeds(at + 1, rows), ["y"], base));
      const outcomes = await clock.finish(Promise.all(all));
      for (const [at, { outputs }] of outcomes.entries()) {
        const { spec, bytes } = outputs.get("y")!;
        expect(spec.shape).toEqual([sizes[at], 2]);
        expect([...float32View({ spec, bytes })]).toEqual(Array(sizes[at]! * 2).fill(2 * (at + 1)));
      }
      const before = runtime.runs.length;
      await clock.finish(Promise.all([7, 8, 9].map((value) => scheduler.run(feeds(value), ["y"], base))));
      expect(runtime.runs.slice(before)).toEqual(buckets ? ["m 4", "m 4"] : ["m 1", "m 2"]);
    },
  );

  it("runs a request with different row counts once, as it came", async () => {
    const batched: Batching = { maxBatchSize: 4, buckets: { axes: [], rows: [4] } };
    const two: MemoryModel = oneStage(
      [x, { name: "bias", datatype: "FP32", shape: [1] }],
      [{ ...x, name: "y" }],
      10,
      (fed) => new Map([["y", { ...fed.get("x")!, spec: { ...fed.get("x")!.spec, name: "y" } }]]),
    );
    const clock = manualClock();
    const runtime = memoryRuntime({ models: { m: two }, clock });
    const artifact = await artifactOf(memoryFile("m"));
    const { scheduler } = await bench(() => 0, {
      batching: batched,
      clock,
      open: (call) => runtime.load(artifact, {}, call),
    });
    const fed = tensorsOf(...feeds(3, 2).values(), float32Tensor("bias", [1], Float32Array.of(1)));
    const { outputs } = await clock.finish(scheduler.run(fed, ["y"], base));
    expect(outputs.get("y")?.spec.shape).toEqual([2, 2]);
    expect(runtime.runs).toHaveLength(1);
  });

  it("answers every request exactly once and rightly, in any order of events", async () => {
    const request = fc.record({
      value: fc.integer({ min: 0, max: 1000 }),
      rows: fc.integer({ min: 1, max: 3 }),
      tenant: fc.constantFrom("a", "b"),
      deadlineMs: fc.option(fc.integer({ min: 1, max: 120 }), { nil: Infinity }),
      pauseMs: fc.integer({ min: 0, max: 12 }),
      cancelAfterMs: fc.option(fc.integer({ min: 0, max: 30 }), { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { maxLength: 25 }),
        fc.integer({ min: 1, max: 2 }),
        async (requests, instances) => {
          const { clock, scheduler, runtime } = await bench((rows) => 3 + rows, { batching, instances });
          const outcomes: Promise<unknown>[] = [];
          for (const { value, rows, tenant, deadlineMs, pauseMs, cancelAfterMs } of requests) {
            const { call, cancel } = childCall(until(clock.nowMs() + deadlineMs, tenant));
            if (cancelAfterMs !== undefined) {
              clock.timer(cancelAfterMs, () => cancel(new LongshoreError("cancelled", "queue", "gone")));
            }
            const outcome = scheduler.run(feeds(value, rows), ["y"], call).then(
              ({ outputs }) => {
                expect([...float32View(outputs.get("y")!)]).toEqual(
                  Array.from({ length: rows * 2 }, () => value * 2),
                );
                return "answered";
              },
              (error: LongshoreError) => error.reason,
            );
            outcomes.push(outcome);
            await clock.advance(pauseMs);
          }
          const ends = await clock.finish(Promise.all(outcomes));
          for (const end of ends)
            expect(["answered", "cancelled", "deadline-exceeded", "evicted"]).toContain(end);
          await clock.finish(scheduler.drain());
          expect(scheduler.load().inFlight).toBe(0);
          expect(runtime.open()).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("life", () => {
  it("drains: refuses new work, finishes accepted work, releases every session", async () => {
    const { clock, scheduler, runtime } = await bench(() => 10, { instances: 2 });
    const ticket = scheduler.admit(1, due(Infinity));
    const accepted = [1, 2, 3].map((value) => scheduler.run(feeds(value), ["y"], base));
    let drained = false;
    const draining = scheduler.drain().then(() => void (drained = true));
    await expect(scheduler.run(feeds(4), ["y"], base)).rejects.toMatchObject({ reason: "shutting-down" });
    expect(() => scheduler.admit(1, due(Infinity))).toThrow(
      expect.objectContaining({ reason: "shutting-down" }) as Error,
    );
    await clock.finish(Promise.all(accepted));
    await settle();
    expect(drained).toBe(false);
    await clock.finish(scheduler.run(feeds(5), ["y"], base, ticket));
    ticket[Symbol.dispose]();
    await draining;
    expect(runtime.open()).toBe(0);
    await scheduler.drain();
  });

  it("loads a crashed instance again when there is work", async () => {
    let crashes = 1;
    const { clock, scheduler, runtime } = await bench(() => 10, {
      beforeRun: () => {
        if (crashes-- > 0) throw new LongshoreError("runtime-crashed", "execute", "planted");
      },
    });
    await expect(clock.finish(scheduler.run(feeds(1), ["y"], base))).rejects.toMatchObject({
      reason: "runtime-crashed",
    });
    expect(firstOf((await clock.finish(scheduler.run(feeds(2), ["y"], base))).outputs)).toBe(4);
    expect(runtime.loads).toHaveLength(2);
    expect(runtime.open()).toBe(1);
  });

  it("fails waiting requests when no instance can be loaded again", async () => {
    const artifact = await artifactOf(memoryFile("m"));
    let opens = 0;
    const clock = manualClock();
    const runtime = memoryRuntime({
      models: { m: doubler(() => 10) },
      clock,
      beforeRun: () => {
        throw new LongshoreError("runtime-crashed", "execute", "planted");
      },
    });
    const { scheduler } = await bench(() => 0, {
      clock,
      open: (call) => {
        if (opens++ > 0) throw new LongshoreError("memory-limit", "execute", "planted");
        return runtime.load(artifact, {}, call);
      },
    });
    const both = Promise.allSettled([1, 2].map((value) => scheduler.run(feeds(value), ["y"], base)));
    const outcomes = await clock.finish(both);
    expect(outcomes).toMatchObject([
      { reason: { reason: "runtime-crashed" } },
      { reason: { reason: "memory-limit" } },
    ]);
    await scheduler.drain();
  });

  it("releases loaded instances when one of several cannot be loaded", async () => {
    let opens = 0;
    const clock = manualClock();
    const runtime = memoryRuntime({ models: { m: doubler(() => 10) }, clock });
    const artifact = await artifactOf(memoryFile("m"));
    const opening = bench(() => 0, {
      clock,
      instances: 3,
      open: (call) => {
        if (opens++ === 1) throw new LongshoreError("memory-limit", "execute", "planted");
        return runtime.load(artifact, {}, call);
      },
    });
    await expect(opening).rejects.toMatchObject({ reason: "memory-limit" });
    expect(runtime.open()).toBe(0);
  });
});

function oneRow(width: number): Tensors {
  return tensorsOf(float32Tensor("x", [1, width], new Float32Array(width)));
}
