import { setMaxListeners } from "node:events";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Batching,
  type Call,
  float32Tensor,
  float32View,
  type LongshoreError,
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
  type MemoryModel,
  memoryRuntime,
  type MemoryRuntime,
  oneStage,
} from "@longshore/testkit";
import { admit } from "./admission.ts";
import { coresOf } from "./cores.ts";
import { openScheduler } from "./open-scheduler.ts";
import type { Scheduler } from "./scheduler-interface.ts";

const base = housekeepingCall("test");
setMaxListeners(0, base.abort);
const x = { name: "x", datatype: "FP32", shape: [-1, 2] } as const;

/** Doubles each value; with `scaled`, by the largest of the whole batch, as dynamic quantisation would. */
function doubler(runMs: (rows: number) => number, scaled = false): MemoryModel {
  return oneStage(
    [x],
    [{ ...x, name: "y" }],
    (feeds) => runMs(feeds.get("x")?.spec.shape[0] ?? 0),
    (feeds) => {
      const { spec, bytes } = feeds.get("x")!;
      const values = float32View({ spec, bytes });
      const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const doubled = values.map((value) =>
        scaled ? (Math.round((value / largest) * 127) * largest * 2) / 127 : value * 2,
      );
      return new Map([["y", float32Tensor("y", spec.shape, doubled)]]);
    },
  );
}

interface World {
  readonly clock: ManualClock;
  readonly scheduler: Scheduler;
  readonly runtime: MemoryRuntime;
  readonly events: LongshoreEvent[];
}

async function world(
  runMs: (rows: number) => number,
  batching: Batching = { maxBatchSize: 0 },
  options: {
    readonly weightOf?: (tenant: string) => number;
    readonly maxQueued?: number;
    readonly instances?: number;
    readonly scaled?: boolean;
  } = {},
): Promise<World> {
  const clock = manualClock();
  const events: LongshoreEvent[] = [];
  const runtime = memoryRuntime({ models: { m: doubler(runMs, options.scaled) }, clock });
  const artifact = await artifactOf(memoryFile("m"));
  const opening = openScheduler({
    name: "m",
    opens: Array.from(
      { length: options.instances ?? 1 },
      () => (call: Call) => runtime.load(artifact, {}, call),
    ),
    batching,
    maxQueued: options.maxQueued ?? 1000,
    cores: coresOf(1, () => 1, clock),
    ...(options.weightOf ? { weightOf: options.weightOf } : {}),
    clock,
    random: seededRandom(11),
    observer: { record: (event) => void events.push(event) },
  });
  return { clock, scheduler: await clock.finish(opening), runtime, events };
}

const feeds = (value: number, rows = 1): Tensors =>
  tensorsOf(float32Tensor("x", [rows, 2], new Float32Array(rows * 2).fill(value)));
const of = (tenant: string, change: Partial<Call> = {}): Call => ({ ...base, tenant, ...change });
const reasonOf = (outcome: Promise<unknown>): Promise<string> =>
  outcome.then(
    () => "answered",
    (error: LongshoreError) => error.reason,
  );

describe("fairness between tenants", () => {
  /** Device time of each tenant while all of them always have requests waiting. */
  async function shares(
    { clock, scheduler }: World,
    backlog: Readonly<Record<string, () => number>>,
    untilMs: number,
  ): Promise<Record<string, number>> {
    const served: Record<string, number> = {};
    const state = { over: false };
    const keep = async (tenant: string, rows: number): Promise<void> => {
      while (!state.over) {
        const outcome = await scheduler.run(feeds(1, rows), ["y"], of(tenant));
        if (clock.nowMs() <= untilMs) served[tenant] = (served[tenant] ?? 0) + outcome.busyMs;
      }
    };
    // A greedy tenant has many under way, a modest one just enough to have always one waiting.
    const loops = Object.entries(backlog).flatMap(([tenant, rowsOf], index) =>
      Array.from({ length: index === 0 ? 40 : 12 }, () => keep(tenant, rowsOf())),
    );
    await clock.advance(untilMs);
    state.over = true;
    await clock.finish(Promise.all(loops));
    return served;
  }

  it("gives backlogged tenants the same device time, however many requests one of them sends", async () => {
    const served = await shares(await world(() => 7), { greedy: () => 1, modest: () => 1 }, 10_000);
    expect((served["greedy"] ?? 0) / (served["modest"] ?? 0)).toBeCloseTo(1, 1);
  });

  it("counts device time and not requests: a tenant with long runs gets fewer of them", async () => {
    const slow = (rows: number): number => (rows === 1 ? 2 : 20);
    const served = await shares(
      await world(slow, { maxBatchSize: 1 }),
      { short: () => 1, long: () => 3 },
      20_000,
    );
    expect((served["short"] ?? 0) / (served["long"] ?? 0)).toBeGreaterThan(0.9);
    expect((served["short"] ?? 0) / (served["long"] ?? 0)).toBeLessThan(1.1);
  });

  it("follows weights within a tenth, for any weights, runs and instances", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 2 }),
        fc.constantFrom(0, 4),
        async (first, second, runMs, instances, maxBatchSize) => {
          const weights: Record<string, number> = { a: first, b: second };
          const here = await world(
            (rows) => runMs + rows / 2,
            { maxBatchSize },
            {
              weightOf: (tenant) => weights[tenant] ?? 1,
              instances,
            },
          );
          const served = await shares(here, { a: () => 1, b: () => 1 }, 4000);
          const ratio = (served["a"] ?? 0) / (served["b"] ?? 0) / (first / second);
          expect(ratio).toBeGreaterThan(0.9);
          expect(ratio).toBeLessThan(1.1);
        },
      ),
      { numRuns: 12 },
    );
  });

  it("lets a tenant save up a burst of a few runs, and no more", async () => {
    const { clock, scheduler } = await world(() => 10);
    for (let run = 0; run < 100; run++) await clock.finish(scheduler.run(feeds(1), ["y"], of("busy")));
    const served: string[] = [];
    const send = (tenant: string): Promise<unknown> =>
      scheduler.run(feeds(1), ["y"], of(tenant)).then(() => served.push(tenant));
    const all = Array.from({ length: 60 }, () => send("busy"));
    // Twenty of it wait at any time.
    const late = async (): Promise<void> => {
      for (let count = 0; count < 3; count++) await send("late");
    };
    for (let count = 0; count < 20; count++) all.push(late());
    await clock.finish(Promise.all(all));
    const ahead = served.findIndex((tenant, index) => index > 0 && tenant === "busy");
    expect(ahead).toBeGreaterThan(32);
    expect(ahead).toBeLessThan(40);
    expect(served.slice(ahead, ahead + 20).filter((tenant) => tenant === "busy")).toHaveLength(10);
  });

  it("gives a flood no saved credit: it waits for a tenant that takes less than its share", async () => {
    const { clock, scheduler } = await world(() => 10);
    for (let run = 0; run < 100; run++) await clock.finish(scheduler.run(feeds(1), ["y"], of("light")));
    const flood = Array.from({ length: 60 }, () => scheduler.run(feeds(1), ["y"], of("flood")));
    for (let burst = 0; burst < 5; burst++) {
      const all = Array.from({ length: 4 }, () => scheduler.run(feeds(1), ["y"], of("light")));
      const waits = (await clock.finish(Promise.all(all))).map(({ queueMs }) => queueMs);
      // The run under way, those before it, and now and then one in turn.
      expect(Math.max(...waits)).toBeLessThanOrEqual(80);
      await clock.advance(80);
    }
    await clock.finish(Promise.all(flood));
  });

  it("nor one of which most is refused: that counts as if it had been served", async () => {
    const { clock, scheduler } = await world(() => 10);
    const once = async (tenant: string): Promise<void> => {
      await clock.finish(scheduler.run(feeds(1), ["y"], of(tenant)));
      await clock.advance(20);
    };
    // Both are known and have saved up all that there is to save.
    for (let turn = 0; turn < 50; turn++) await once("light");
    await once("flood");
    for (let turn = 0; turn < 50; turn++) await once("light");
    const random = seededRandom(3);
    let refused = 0;
    const flood = async (): Promise<void> => {
      const call = of("flood", { deadlineMs: clock.nowMs() + 100 });
      try {
        const demands = [{ scheduler, runs: 1 }];
        using granted = admit({ demands, otherMs: 0, slackMs: 0 }, call, clock.nowMs(), random);
        await scheduler.run(feeds(1), ["y"], call, granted.ticket(scheduler));
      } catch (thrown) {
        if ((thrown as LongshoreError).reason === "rejected") refused++;
      }
    };
    const all: Promise<unknown>[] = [];
    const floodFor = async (ms: number): Promise<void> => {
      for (let sent = 0; sent < ms; sent += 5) {
        all.push(flood(), flood());
        await clock.advance(5);
      }
    };
    await floodFor(200);
    expect(refused).toBeGreaterThan(36);
    const light = Array.from({ length: 20 }, () => scheduler.run(feeds(1), ["y"], of("light")));
    await floodFor(400);
    const waits = (await clock.finish(Promise.all(light))).map(({ queueMs }) => queueMs);
    // The run under way, those before it, and no more than one of the flood.
    expect(Math.max(...waits)).toBeLessThanOrEqual(210);
    await clock.finish(Promise.all(all));
  });

  it("counts a lone tenant's unused time as saved, against later tenants", async () => {
    const { clock, scheduler } = await world(() => 10);
    for (let run = 0; run < 100; run++) {
      await clock.finish(scheduler.run(feeds(1), ["y"], of("light")));
      await clock.advance(20);
    }
    const flood = Array.from({ length: 60 }, () => scheduler.run(feeds(1), ["y"], of("newcomer")));
    for (let run = 0; run < 15; run++) {
      const { queueMs } = await clock.finish(scheduler.run(feeds(1), ["y"], of("light")));
      // The run under way, and perhaps one more.
      expect(queueMs).toBeLessThanOrEqual(20);
      await clock.advance(20);
    }
    await clock.finish(Promise.all(flood));
  });

  it("makes a tenant that holds the whole queue give up one entry to a tenant without any", async () => {
    const { clock, scheduler } = await world(() => 10, { maxBatchSize: 0 }, { maxQueued: 3 });
    const request = async (tenant: string): Promise<string> => {
      using ticket = scheduler.admit(1, of(tenant));
      return await reasonOf(scheduler.run(feeds(1), ["y"], of(tenant), ticket));
    };
    const greedy = Array.from({ length: 5 }, () =>
      request("greedy").catch((error: LongshoreError) => error.reason),
    );
    const modest = request("modest").catch((error: LongshoreError) => error.reason);
    expect(await clock.finish(modest)).toBe("answered");
    const ends = await clock.finish(Promise.all(greedy));
    expect(ends.filter((end) => end === "queue-full")).toHaveLength(1);
    expect(ends.filter((end) => end === "evicted")).toHaveLength(1);
    expect(ends.filter((end) => end === "answered")).toHaveLength(3);
  });

  it("forecasts for a modest tenant only the work served before it", async () => {
    const { clock, scheduler } = await world(() => 10);
    for (let run = 0; run < 3; run++) await clock.finish(scheduler.run(feeds(1), ["y"], of("greedy")));
    const all = Array.from({ length: 11 }, () => scheduler.run(feeds(1), ["y"], of("greedy")));
    expect(scheduler.expected(1, of("greedy")).waitMs).toBe(110);
    // The run under way, and perhaps one more.
    expect(scheduler.expected(1, of("modest")).waitMs).toBeLessThanOrEqual(20);
    await clock.finish(Promise.all(all));
  });
});

describe("classes and timeouts", () => {
  const policy = { timeoutAction: "reject", timeoutMs: 0, mayShorten: true, maxQueued: 0 } as const;

  it("serves the lowest class first, the earliest deadline in it, and unknown classes as the default", async () => {
    const { clock, scheduler } = await world(() => 10, {
      maxBatchSize: 0,
      priorities: { levels: 3, defaultLevel: 2, policies: {} },
    });
    const served: number[] = [];
    const wanted: readonly (readonly [number | undefined, number])[] = [
      [undefined, 900],
      [3, 100],
      [1, 800],
      [9, 700],
      [2, 500],
      [1, 600],
    ];
    const all = wanted.map(([priority, deadlineMs], index) =>
      scheduler
        .run(feeds(1), ["y"], of("t", { deadlineMs, ...(priority === undefined ? {} : { priority }) }))
        .then(() => served.push(index)),
    );
    await clock.finish(Promise.all(all));
    // The first began at once.
    expect(served).toEqual([0, 5, 2, 4, 3, 1]);
  });

  it("does not let one tenant's urgent class go before other tenants", async () => {
    const { clock, scheduler } = await world(() => 10, {
      maxBatchSize: 0,
      priorities: { levels: 2, defaultLevel: 2, policies: {} },
    });
    const served: string[] = [];
    const run = (tenant: string, priority: number): Promise<unknown> =>
      scheduler.run(feeds(1), ["y"], of(tenant, { priority })).then(() => served.push(tenant));
    await clock.finish(
      Promise.all([run("pushy", 1), run("pushy", 1), run("pushy", 1), run("calm", 2), run("calm", 2)]),
    );
    expect(served).toEqual(["pushy", "calm", "pushy", "calm", "pushy"]);
  });

  it("refuses after the longest wait, at that moment and not when a run ends", async () => {
    const { clock, scheduler } = await world(() => 2000, {
      maxBatchSize: 0,
      queue: { ...policy, timeoutMs: 500 },
    });
    for (let seen = 0; seen < 3; seen++) await clock.finish(scheduler.run(feeds(1), ["y"], of("t")));
    const beganMs = clock.nowMs();
    const running = scheduler.run(feeds(1), ["y"], of("t"));
    const late = scheduler.run(feeds(1), ["y"], of("t")).catch((error: LongshoreError) => {
      // After this long, the rest of the run under way can be waited for.
      expect(error).toMatchObject({ reason: "evicted", code: "UNAVAILABLE", retryAfterMs: 1000 });
      return clock.nowMs();
    });
    expect(await clock.finish(late)).toBe(500 + beganMs);
    await clock.finish(running);
    expect(clock.armed()).toBe(0);
  });

  it("takes a shorter wait from a request where the policy allows it, and never a longer one", async () => {
    for (const [mayShorten, wanted, ends] of [
      [true, 100, 100],
      [true, 900, 500],
      [false, 100, 500],
    ] as const) {
      const { clock, scheduler } = await world(() => 1000, {
        maxBatchSize: 0,
        queue: { ...policy, timeoutMs: 500, mayShorten },
      });
      const running = scheduler.run(feeds(1), ["y"], of("t"));
      const late = scheduler
        .run(feeds(1), ["y"], of("t", { queueTimeoutMs: wanted }))
        .catch(() => clock.nowMs());
      expect(await clock.finish(late)).toBe(ends);
      await clock.finish(running);
    }
  });

  it("serves requests that waited too long after the others, if the policy says so", async () => {
    const { clock, scheduler } = await world(() => 100, {
      maxBatchSize: 0,
      queue: { ...policy, timeoutAction: "delay", timeoutMs: 50 },
    });
    const served: string[] = [];
    const run = (name: string): Promise<unknown> =>
      scheduler.run(feeds(1), ["y"], of("t")).then(() => served.push(name));
    const all = [run("first"), run("old")];
    await clock.advance(60);
    all.push(run("fresh"));
    await clock.finish(Promise.all(all));
    expect(served).toEqual(["first", "fresh", "old"]);
  });

  it("refuses requests above the limit of their class", async () => {
    const { clock, scheduler } = await world(() => 10, {
      maxBatchSize: 0,
      priorities: { levels: 2, defaultLevel: 2, policies: { 1: { ...policy, maxQueued: 1 } } },
    });
    const ends = [2, 1, 1, 2].map((priority) =>
      reasonOf(scheduler.run(feeds(1), ["y"], of("t", { priority }))),
    );
    expect(await clock.finish(Promise.all(ends))).toEqual(["answered", "answered", "queue-full", "answered"]);
  });

  it("refuses a request of a full class, though it was admitted before its class was known", async () => {
    const { clock, scheduler } = await world(() => 10, {
      maxBatchSize: 0,
      priorities: { levels: 2, defaultLevel: 2, policies: { 1: { ...policy, maxQueued: 1 } } },
    });
    const ends = [2, 1, 1, 2].map((priority) => {
      const ticket = scheduler.admit(1, of("t"));
      const ran = scheduler.run(feeds(1), ["y"], of("t", { priority }), ticket);
      return reasonOf(ran.finally(() => ticket[Symbol.dispose]()));
    });
    expect(await clock.finish(Promise.all(ends))).toEqual(["answered", "answered", "queue-full", "answered"]);
  });

  it("holds the limit of the default class for requests that were let in together before their bodies came", async () => {
    const { clock, scheduler } = await world(() => 10, {
      maxBatchSize: 0,
      queue: { ...policy, maxQueued: 1 },
    });
    const tickets = Array.from({ length: 4 }, () => scheduler.admit(1, of("t")));
    const ends = tickets.map((ticket) => reasonOf(scheduler.run(feeds(1), ["y"], of("t"), ticket)));
    expect(await clock.finish(Promise.all(ends))).toEqual([
      "answered",
      "answered",
      "queue-full",
      "queue-full",
    ]);
    for (const ticket of tickets) ticket[Symbol.dispose]();
  });

  it("lets answers out in the order in which requests came, where the model wants that", async () => {
    const { clock, scheduler } = await world(() => 10, { maxBatchSize: 0, preserveOrdering: true });
    const left: number[] = [];
    const all = [900, 800, 100].map((deadlineMs, index) =>
      scheduler.run(feeds(index), ["y"], of("t", { deadlineMs })).then(({ outputs }) => {
        left.push(index);
        return float32View(outputs.get("y")!)[0];
      }),
    );
    expect(await clock.finish(Promise.all(all))).toEqual([0, 2, 4]);
    expect(left).toEqual([0, 1, 2]);
  });
});

describe("which rows share a run", () => {
  const run = ({ scheduler }: World, tenant: string): Promise<unknown> =>
    scheduler.run(feeds(3), ["y"], of(tenant));
  const pair = async (here: World): Promise<readonly string[]> => {
    const before = here.runtime.runs.length;
    await here.clock.finish(Promise.all(["a", "a", "a", "b"].map((tenant) => run(here, tenant))));
    return here.runtime.runs.slice(before);
  };

  it("joins one tenant's requests by default, none under `exclusive`, all under `shared`", async () => {
    expect(await pair(await world(() => 10, { maxBatchSize: 8 }))).toEqual(["m 1", "m 1", "m 2"]);
    expect(await pair(await world(() => 10, { maxBatchSize: 8, isolation: "exclusive" }))).toEqual(
      Array.from({ length: 4 }, () => "m 1"),
    );
    const shared = await world(() => 10, { maxBatchSize: 8, isolation: "shared" });
    expect(shared.scheduler.isolation).toBe("shared");
    expect(await pair(shared)).toEqual(["m 1", "m 3"]);
  });

  it("gives `shared` only to a graph whose answers do not depend on the rows beside", async () => {
    const here = await world(() => 10, { maxBatchSize: 8, isolation: "shared" }, { scaled: true });
    expect(here.scheduler.isolation).toBe("tenant");
    expect(here.events.find(({ kind }) => kind === "invariance-tested")).toMatchObject({
      passed: false,
      problem: "the answers for a row depend on the rows beside it",
    });
    expect(await pair(here)).toEqual(["m 1", "m 1", "m 2"]);
  });
});

describe("admission", () => {
  const ask = ({ clock, scheduler }: World, deadlineMs: number, slackMs = 0): string => {
    try {
      admit(
        { demands: [{ scheduler, runs: 1 }], otherMs: 0, slackMs },
        of("t", { deadlineMs: clock.nowMs() + deadlineMs }),
        clock.nowMs(),
        seededRandom(1),
      )[Symbol.dispose]();
      return "granted";
    } catch (error) {
      return (error as LongshoreError).reason;
    }
  };

  it("refuses at once a request that cannot be done in time, by run times and waiting work", async () => {
    const here = await world(() => 10);
    const { clock, scheduler } = here;
    for (let seen = 0; seen < 3; seen++) await clock.finish(scheduler.run(feeds(1), ["y"], of("t")));
    expect([ask(here, 9), ask(here, 11)]).toEqual(["rejected", "granted"]);
    // Earlier deadlines are served first.
    const before = of("t", { deadlineMs: clock.nowMs() + 35 });
    const all = [1, 2, 3].map(() => scheduler.run(feeds(1), ["y"], before));
    expect([ask(here, 39), ask(here, 41), ask(here, 41, 5)]).toEqual(["rejected", "granted", "rejected"]);
    await clock.finish(Promise.all(all));
  });

  it("refuses nothing by few or old figures while the queue is empty: one request has to try", async () => {
    const here = await world(() => 10);
    const { clock, scheduler } = here;
    await clock.finish(scheduler.run(feeds(1), ["y"], of("t")));
    expect(ask(here, 5)).toBe("granted");
    for (let seen = 0; seen < 3; seen++) await clock.finish(scheduler.run(feeds(1), ["y"], of("t")));
    expect(ask(here, 5)).toBe("rejected");
    await clock.advance(1500);
    expect(ask(here, 5)).toBe("granted");
  });

  it("counts the expected work of other tenants that is served first, as lately, and no more", async () => {
    const { clock, scheduler } = await world(() => 10);
    const all: Promise<unknown>[] = [];
    const send = (tenant: string): void => void all.push(scheduler.run(feeds(1), ["y"], of(tenant)));
    const waitOf = (tenant: string): number => scheduler.expected(1, of(tenant)).waitMs;
    // A modest tenant takes two fifths of the time; a greedy one comes and has 20 that wait.
    for (let atMs = 0; atMs < 5000; atMs += 25) {
      send("modest");
      if (atMs === 4000) for (let count = 0; count < 60; count++) send("greedy");
      await clock.advance(25);
    }
    const waiting = 60 - Math.floor(((5000 - 4000) * 0.6) / 10);
    for (let count = waiting; count < 20; count++) send("greedy");
    const expectedMs = waitOf("greedy");
    expect(waitOf("modest")).toBeLessThanOrEqual(20);
    const outcome = scheduler.run(feeds(1), ["y"], of("greedy"));
    for (let atMs = 0; atMs < 1000; atMs += 25) {
      send("modest");
      await clock.advance(25);
    }
    const { queueMs: tookMs } = await outcome;
    expect(expectedMs).toBeGreaterThan(0.8 * tookMs);
    expect(expectedMs).toBeLessThan(1.2 * tookMs);
    expect(tookMs).toBeGreaterThan(300);
    await clock.finish(Promise.all(all));
    await clock.advance(10_000);
    // Of an equal no more is served than of oneself, however much it has waiting and however fast it comes.
    for (let count = 0; count < 40; count++) {
      send("one");
      send("other");
      send("other");
    }
    expect(waitOf("one")).toBeGreaterThanOrEqual(780);
    expect(waitOf("one")).toBeLessThanOrEqual(820);
    await clock.finish(Promise.all(all));
  });

  it("counts on shared runs: eight that wait are one run away", async () => {
    const here = await world((rows) => 10 + rows, { maxBatchSize: 8 });
    const { clock, scheduler } = here;
    for (let round = 0; round < 4; round++) {
      await clock.finish(
        Promise.all(Array.from({ length: 9 }, () => scheduler.run(feeds(1), ["y"], of("t")))),
      );
    }
    const all = Array.from({ length: 8 }, () => scheduler.run(feeds(1), ["y"], of("t")));
    const { waitMs, runMs } = scheduler.expected(1, of("t"));
    expect(waitMs).toBeLessThanOrEqual(12);
    expect(runMs).toBeCloseTo(18, 0);
    await clock.finish(Promise.all(all));
  });
});
