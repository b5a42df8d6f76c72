import { describe, expect, it } from "vitest";
import { type Call, LongshoreError } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { type ManualClock, manualClock } from "@longshore/testkit";
import {
  type Allowances,
  createQuotas,
  createAllowanceLeases,
  LeasedAllowances,
  LocalAllowances,
  type QuotaRules,
  type Quotas,
  type SpentMicros,
  type TenantLimits,
} from "./index.ts";

const call = (tenant = "acme"): Call => ({ ...housekeepingCall("one"), tenant });

function world(limits: TenantLimits, more: Partial<QuotaRules> = {}) {
  const clock = manualClock();
  const rules: QuotaRules = { tenants: { acme: limits }, ...more };
  const allowances = new LocalAllowances(() => rules, clock);
  const quotas = createQuotas({ clock, rules: () => rules, allowances });
  return { clock, quotas, allowances };
}

const refused = (message: string): unknown =>
  expect.objectContaining({ reason: "tenant-limit", message: expect.stringContaining(message) });

/** Lets in as many as may begin now. */
async function admitted(quotas: Quotas, most: number): Promise<number> {
  let count = 0;
  for (; count < most; count++) {
    try {
      (await quotas.enter(call(), "m", 10))[Symbol.dispose]();
    } catch {
      break;
    }
  }
  return count;
}

const ended = (deviceMs: number, bytes: number, tenant = "acme") =>
  ({
    kind: "inference-ended",
    atMs: 0,
    callId: "one",
    tenant,
    model: "m",
    version: "1",
    tookMs: deviceMs,
    outcome: "answered",
    answers: 1,
    rows: 1,
    stages: [{ stage: "run", name: "m", tookMs: deviceMs }],
    receivedBytes: bytes,
    sentBytes: 0,
    millijoules: 0,
    energyLabel: "estimated",
  }) as const;

const charged = (micros: number) =>
  ({
    kind: "cost-charged",
    atMs: 0,
    callId: "one",
    tenant: "acme",
    model: "m",
    endpoint: "e",
    micros,
  }) as const;

describe("quotas of a tenant", () => {
  it("bound the rate, and say when to retry", async () => {
    const { clock, quotas } = world({ requestsPerSecond: 10 });
    expect(await admitted(quotas, 100)).toBe(5);
    const error = await quotas.enter(call(), "m", 0).catch((thrown: unknown) => thrown);
    expect(error).toEqual(refused("10 requests a second; retry in 100 ms"));
    expect((error as LongshoreError).retryAfterMs).toBe(100);
    await clock.advance(200);
    expect(await admitted(quotas, 100)).toBe(2);
    // Other tenants have no limit here.
    await expect(quotas.enter(call("other"), "m", 0)).resolves.toBeDefined();
  });

  it("bound requests under way", async () => {
    const { quotas } = world({ concurrency: 2 });
    const first = await quotas.enter(call(), "m", 0);
    await quotas.enter(call(), "m", 0);
    await expect(quotas.enter(call(), "m", 0)).rejects.toEqual(refused("2 requests under way"));
    first[Symbol.dispose]();
    await expect(quotas.enter(call(), "m", 0)).resolves.toBeDefined();
  });

  it("bound bytes of requests and replies, and run time", async () => {
    const bytes = world({ bytesPerSecond: 1000 });
    const entered = await bytes.quotas.enter(call(), "m", 400);
    bytes.quotas.observer.record(ended(0, 600));
    entered[Symbol.dispose]();
    await expect(bytes.quotas.enter(call(), "m", 1)).rejects.toEqual(refused("1000 bytes a second"));
    const device = world({ deviceSecondsPerMinute: 6 });
    (await device.quotas.enter(call(), "m", 0))[Symbol.dispose]();
    device.quotas.observer.record(ended(150, 0));
    await expect(device.quotas.enter(call(), "m", 0)).rejects.toEqual(
      refused("6 seconds of run time a minute"),
    );
    await device.clock.advance(2000);
    await expect(device.quotas.enter(call(), "m", 0)).resolves.toBeDefined();
  });

  it("bound micros of a day: the possible cost of a request is taken before, and the rest is never below 0", async () => {
    const { clock, quotas, allowances } = world({ microsPerDay: 1000 });
    const least: number[] = [];
    let spent = 0;
    for (let count = 0; count < 1000; count++) {
      try {
        using entered = await quotas.enter(call(), "m", 0);
        expect(entered.call.maxCostMicros).toBeLessThanOrEqual(1000 - spent + 1e-6);
        const cost = Math.min(7, entered.call.maxCostMicros ?? 0);
        spent += cost;
        quotas.observer.record(charged(cost));
      } catch (thrown) {
        expect(thrown).toEqual(refused("1000 micros a day"));
        break;
      }
      least.push(allowances.left("acme", "micros") ?? NaN);
    }
    expect(Math.min(...least)).toBeGreaterThanOrEqual(-1e-6);
    expect(spent).toBeGreaterThan(990);
    expect(spent).toBeLessThanOrEqual(1000);
    await clock.advance(86_400_000);
    await expect(quotas.enter(call(), "m", 0)).resolves.toBeDefined();
  });

  it("let a request cost more after one that found no endpoint within its bound", async () => {
    const { quotas } = world({ microsPerDay: 1_000_000 });
    const bound = async (): Promise<number> => {
      using entered = await quotas.enter(call(), "m", 0);
      return entered.call.maxCostMicros ?? NaN;
    };
    expect(await bound()).toBe(1_000_000);
    quotas.observer.record(charged(10));
    expect(await bound()).toBe(80);
    const failure = {
      kind: "failure",
      atMs: 0,
      callId: "c",
      tenant: "acme",
      model: "m",
      message: "",
    } as const;
    quotas.observer.record({ ...failure, stage: "plan", reason: "no-endpoint" });
    expect(await bound()).toBe(320);
    for (let count = 0; count < 20; count++)
      quotas.observer.record({ ...failure, stage: "plan", reason: "no-endpoint" });
    expect(await bound()).toBe(80 * 4096);
    for (let count = 0; count < 100; count++) quotas.observer.record(charged(10));
    expect(await bound()).toBe(80);
  });

  it("refuse a request that finds no endpoint within its part of the budget, and say when to retry", async () => {
    const { quotas } = world({ microsPerDay: 1000 });
    const tooDear = new LongshoreError("no-endpoint", "plan", "(a: it could cost more than 500 micros)");
    const asked = async (error = tooDear): Promise<[number | undefined, unknown]> => {
      using entered = await quotas.enter(call(), "m", 0);
      return [entered.call.maxCostMicros, entered.failed(error)];
    };
    const later = (retryAfterMs: number, part: number) =>
      expect.objectContaining({
        reason: "tenant-limit",
        retryAfterMs,
        message: expect.stringContaining(`1000 micros a day, of which this request could have ${part}: (a:`),
      });
    const other = new LongshoreError("no-endpoint", "plan", "(a: the deadline)");
    // Alone it may cost all that is left.
    expect(await asked(other)).toEqual([1000, other]);
    const beside = await quotas.enter({ ...call(), maxCostMicros: 1 }, "other", 0);
    expect(await asked(other)).toEqual([500, other]);
    expect(await asked()).toEqual([500, later(100, 500)]);
    beside[Symbol.dispose]();
    // The whole budget is too small: no limit of what was spent.
    expect(await asked()).toEqual([1000, tooDear]);
    quotas.observer.record(charged(700));
    quotas.observer.record({ ...charged(1), model: "other" });
    const cheap = async () => {
      using entered = await quotas.enter(call(), "other", 0);
      return entered.failed(tooDear);
    };
    expect(await cheap()).toEqual(later(100, 8));
    for (let count = 0; count < 4; count++) await cheap();
    expect(await cheap()).toEqual(later(6_400_000, 299));
  });

  it("let a request wait for one that holds the whole budget, until its own deadline", async () => {
    const { clock, quotas } = world({ microsPerDay: 1000 });
    const first = await quotas.enter(call(), "m", 0);
    expect(first.call.maxCostMicros).toBe(1000);
    const second = quotas.enter(call(), "m", 0);
    const third = quotas.enter({ ...call(), deadlineMs: 50 }, "m", 0);
    await clock.advance(60);
    expect((await third).call.maxCostMicros).toBe(0);
    (await third)[Symbol.dispose]();
    quotas.observer.record(charged(600));
    first[Symbol.dispose]();
    expect((await second).call.maxCostMicros).toBe(400);
    // Nothing is set aside that would do: no wait.
    (await second)[Symbol.dispose]();
    quotas.observer.record(charged(400));
    await expect(quotas.enter(call(), "m", 0)).rejects.toEqual(refused("1000 micros a day"));
    await expect(quotas.enter({ ...call(), maxCostMicros: 1 }, "other", 0)).resolves.toBeDefined();
  });

  it("hold at 10,000 random calls of random costs", async () => {
    const { quotas } = world({ microsPerDay: 100_000 });
    let seed = 1;
    const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    const under: { entered: Awaited<ReturnType<Quotas["enter"]>>; cost: number }[] = [];
    let spent = 0;
    let over = 0;
    for (let count = 0; count < 10_000; count++) {
      if (random() < 0.5) {
        const own = random() < 0.3 ? { maxCostMicros: random() * 40, deadlineMs: 0 } : { deadlineMs: 0 };
        const entered = await quotas.enter({ ...call(), ...own }, "m", 0).catch(() => undefined);
        if (!entered) continue;
        const most = entered.call.maxCostMicros ?? NaN;
        if (own.maxCostMicros !== undefined && most > own.maxCostMicros) over++;
        under.push({ entered, cost: Math.min(most, random() * 60) });
      } else {
        const [one] = under.splice(Math.floor(random() * under.length), 1);
        if (!one) continue;
        quotas.observer.record(charged(one.cost));
        spent += one.cost;
        one.entered[Symbol.dispose]();
        if (spent > 100_000 + 1e-6) over++;
      }
    }
    expect(over).toBe(0);
    expect(spent).toBeGreaterThan(90_000);
  });

  it("remember the amount spent, after a crash up to a 64th of the budget more", () => {
    const clock = manualClock();
    const rules: QuotaRules = { tenants: { "*": { microsPerDay: 640 } } };
    let saved: ReadonlyMap<string, SpentMicros> = new Map();
    const shelf = () => ({ before: saved, save: (spent: typeof saved) => void (saved = spent) });
    const first = new LocalAllowances(() => rules, clock, shelf());
    first.charge("acme", "micros", 100);
    const afterCrash = new LocalAllowances(() => rules, clock, shelf());
    expect(afterCrash.left("acme", "micros")).toBe(530);
    // Another tenant's spending is kept where this one does not come.
    const other = new LocalAllowances(() => rules, clock, shelf());
    other.charge("other", "micros", 10);
    other.close();
    expect(saved.get("acme")).toMatchObject({ micros: 110 });
    // A reservation counts only as long as its request.
    first.take("acme", "micros", 320);
    expect(saved.get("acme")).toMatchObject({ micros: 430 });
    first.charge("acme", "micros", -320);
    expect(saved.get("acme")).toMatchObject({ micros: 110 });
    first.close();
    expect(new LocalAllowances(() => rules, clock, shelf()).left("acme", "micros")).toBe(540);
  });
});

/** Requests of a tenant that come every so often; returns how long each waited for its turn and ran, and how many were refused. */
async function load(
  clock: ManualClock,
  quotas: Quotas,
  {
    tenant,
    everyMs,
    forMs,
    runMs,
  }: { tenant: string; everyMs: (count: number) => number; forMs: number; runMs: number },
) {
  const tookMs: number[] = [];
  const wait = (ms: number) => new Promise<void>((resolve) => void clock.timer(ms, resolve));
  const one = async (): Promise<void> => {
    const startedMs = clock.nowMs();
    const entered = await quotas.enter(call(tenant), "m", 0).catch(() => undefined);
    if (!entered) return;
    await wait(runMs);
    entered[Symbol.dispose]();
    tookMs.push(clock.nowMs() - startedMs);
  };
  const all: Promise<void>[] = [];
  const endMs = clock.nowMs() + forMs;
  for (let count = 0; clock.nowMs() < endMs; count++) {
    all.push(one());
    await wait(everyMs(count));
  }
  await Promise.all(all);
  return tookMs.toSorted((a, b) => a - b);
}

describe("limits that change while requests come", () => {
  it("count what was spent of a day's budget before", () => {
    const clock = manualClock();
    let microsPerDay = 100;
    const allowances = new LocalAllowances(() => ({ tenants: { acme: { microsPerDay } } }), clock);
    allowances.charge("acme", "micros", 50);
    microsPerDay = 25;
    expect(allowances.left("acme", "micros")).toBe(-25);
    expect(allowances.take("acme", "micros", 1)).toMatchObject({ taken: false });
    microsPerDay = 200;
    expect(allowances.left("acme", "micros")).toBe(150);
  });

  it("hold at a gateway that was told once that there are none", async () => {
    const clock = manualClock();
    let tenants: QuotaRules["tenants"] = {};
    const desk = createAllowanceLeases(new LocalAllowances(() => ({ tenants }), clock), clock);
    const leased = new LeasedAllowances("g", async (request) => desk.lease({ ...request }), clock);
    for (const meter of ["requests", "concurrency"] as const)
      expect(await leased.take("acme", meter, 1)).toMatchObject({ taken: true });
    tenants = { acme: { requestsPerSecond: 0.001, concurrency: 1 } };
    await clock.advance(2000);
    for (const meter of ["requests", "concurrency"] as const) {
      await leased.take("acme", meter, 1);
      expect(await leased.take("acme", meter, 1)).toMatchObject({ taken: false });
    }
    leased.close();
  });
});

describe("limits that two gateways share", () => {
  /** A gateway that has the allowances, and one that leases them, with this round trip in milliseconds. */
  function pair(clock: ManualClock, rules: QuotaRules, awayMs: number, isUp = () => true) {
    const leases = createAllowanceLeases(new LocalAllowances(() => rules, clock), clock);
    const ask = async (request: unknown) => {
      await new Promise<void>((resolve) => void clock.timer(awayMs, resolve));
      if (!isUp()) throw new LongshoreError("unreachable", "transport", "away");
      return leases.lease(JSON.parse(JSON.stringify(request)));
    };
    const leased = new LeasedAllowances("b", ask, clock);
    const gateways = [leases.own, leased].map((allowances) =>
      createQuotas({ clock, rules: () => rules, allowances }),
    );
    return { gateways, leased, leases };
  }

  it("are shared with the gateway that has them", async () => {
    const clock = manualClock();
    const rules: QuotaRules = { tenants: { "*": { requestsPerSecond: 100 } } };
    const forMs = 10_000;
    const loads = pair(clock, rules, 2).gateways.map((quotas) =>
      load(clock, quotas, { tenant: "heavy", everyMs: () => 1, forMs, runMs: 5 }),
    );
    const counts = (await clock.finish(Promise.all(loads))).map(({ length }) => length);
    const all = counts.reduce((sum, count) => sum + count, 0);
    // The rate, and half a second's worth that was saved up.
    expect(all).toBeLessThanOrEqual(forMs / 10 + 51);
    expect(all).toBeGreaterThan((0.95 * forMs) / 10);
    expect(Math.min(...counts) / all).toBeGreaterThan(0.3);
  }, 120_000);

  it.each([1, 3, 8])(
    "of %i requests under way hold over both, and both get their part",
    async (concurrency) => {
      const clock = manualClock();
      const rules: QuotaRules = { tenants: { "*": { concurrency } } };
      const { gateways, leased } = pair(clock, rules, 2);
      let [underWay, most] = [0, 0];
      const forMs = 20_000;
      const runMs = 30;
      const flood = async (quotas: Quotas): Promise<number> => {
        let done = 0;
        const one = async (): Promise<void> => {
          const entered = await quotas.enter(call(), "m", 0).catch(() => undefined);
          if (!entered) return;
          most = Math.max(most, ++underWay);
          await new Promise<void>((resolve) => void clock.timer(runMs, resolve));
          underWay--;
          entered[Symbol.dispose]();
          done++;
        };
        const all: Promise<void>[] = [];
        for (const endMs = clock.nowMs() + forMs; clock.nowMs() < endMs;) {
          for (let count = 0; count < concurrency; count++) all.push(one());
          await new Promise<void>((resolve) => void clock.timer(6, resolve));
        }
        await Promise.all(all);
        return done;
      };
      const counts = await clock.finish(Promise.all(gateways.map(flood)));
      const all = counts.reduce((sum, count) => sum + count, 0);
      expect(most).toBeLessThanOrEqual(concurrency);
      expect(all / ((concurrency * forMs) / runMs)).toBeGreaterThan(0.5);
      expect(Math.min(...counts) / all).toBeGreaterThan(0.25);
      leased.close();
    },
    120_000,
  );

  it("of requests under way are free again after a gateway that had some has gone", async () => {
    const clock = manualClock();
    const rules: QuotaRules = { tenants: { "*": { concurrency: 1 } } };
    let up = true;
    const { gateways, leased } = pair(clock, rules, 2, () => up);
    const [first, second] = gateways;
    const held = await clock.finish(second!.enter(call(), "m", 0));
    await expect(clock.finish(first!.enter(call(), "m", 0))).rejects.toEqual(refused("1 requests under way"));
    // A run that takes long keeps its part.
    await clock.advance(60_000);
    await expect(clock.finish(first!.enter(call(), "m", 0))).rejects.toEqual(refused("1 requests under way"));
    up = false;
    held[Symbol.dispose]();
    await expect(clock.finish(second!.enter(call(), "m", 0))).rejects.toEqual(refused("does not answer"));
    await clock.advance(10_000);
    (await clock.finish(first!.enter(call(), "m", 0)))[Symbol.dispose]();
    up = true;
    await clock.advance(2000);
    await expect(clock.finish(second!.enter(call(), "m", 0))).resolves.toBeDefined();
    leased.close();
  });

  it("of micros a day begin anew at midnight, whatever was leased or set aside before", async () => {
    const clock = manualClock();
    const rules: QuotaRules = { tenants: { "*": { microsPerDay: 1000 } } };
    const { gateways, leased } = pair(clock, rules, 2);
    const second = gateways[1]!;
    const before = await clock.finish(second.enter(call(), "m", 0));
    await clock.advance(86_400_000);
    let spent = 0;
    const spend = (cost: number): void => {
      spent += cost;
      second.observer.record(charged(cost));
    };
    spend(5);
    before[Symbol.dispose]();
    for (let count = 0; count < 400; count++) {
      const entered = await clock.finish(second.enter(call(), "m", 0).catch(() => undefined));
      if (!entered) break;
      spend(Math.min(7, entered.call.maxCostMicros ?? 0));
      entered[Symbol.dispose]();
    }
    expect(spent).toBeLessThanOrEqual(1000);
    expect(spent).toBeGreaterThan(800);
    leased.close();
  });

  /** Gateways that lease from a server with this round trip, in milliseconds. */
  function fleet(
    clock: ManualClock,
    rules: QuotaRules,
    awayMs: number,
    isUp = () => true,
  ): readonly Quotas[] {
    const desk = createAllowanceLeases(new LocalAllowances(() => rules, clock), clock);
    const ask = async (request: unknown) => {
      await new Promise<void>((resolve) => void clock.timer(awayMs, resolve));
      if (!isUp()) throw new LongshoreError("unreachable", "transport", "away");
      return desk.lease(JSON.parse(JSON.stringify(request)));
    };
    return ["a", "b"].map((holder) => {
      const allowances: Allowances = new LeasedAllowances(holder, ask, clock);
      return createQuotas({ clock, rules: () => rules, allowances });
    });
  }

  it("are exceeded by at most 2 % by a tenant that sends ten times as much to both", async () => {
    const clock = manualClock();
    const rules: QuotaRules = { tenants: { "*": { requestsPerSecond: 100 } } };
    const gateways = fleet(clock, rules, 2);
    const forMs = 40_000;
    const loads = gateways.map((quotas) =>
      load(clock, quotas, { tenant: "heavy", everyMs: () => 1, forMs, runMs: 5 }),
    );
    const counts = (await clock.finish(Promise.all(loads))).map(({ length }) => length);
    const all = counts.reduce((sum, count) => sum + count, 0);
    expect(all / (forMs / 10)).toBeLessThanOrEqual(1.02);
    expect(all / (forMs / 10)).toBeGreaterThan(0.95);
    // Each of them gets its part.
    expect(Math.min(...counts) / all).toBeGreaterThan(0.3);
  }, 120_000);

  it("hold while the server that has them is away", async () => {
    const clock = manualClock();
    let up = false;
    const [gateway] = fleet(clock, { tenants: { "*": { requestsPerSecond: 100 } } }, 2, () => up);
    const first = clock.finish(gateway!.enter(call(), "m", 0));
    await expect(first).rejects.toEqual(refused("does not answer"));
    up = true;
    await clock.advance(1000);
    await expect(clock.finish(gateway!.enter(call(), "m", 0))).resolves.toBeDefined();
  });

  it("of micros a day are never exceeded", async () => {
    const clock = manualClock();
    const gateways = fleet(clock, { tenants: { "*": { microsPerDay: 1000 } } }, 2);
    let spent = 0;
    const spend = async (quotas: Quotas): Promise<void> => {
      for (let count = 0; count < 300; count++) {
        const entered = await quotas.enter(call(), "m", 0).catch(() => undefined);
        if (!entered) return;
        const cost = Math.min(7, entered.call.maxCostMicros ?? 0);
        spent += cost;
        quotas.observer.record(charged(cost));
        entered[Symbol.dispose]();
      }
    };
    await clock.finish(Promise.all(gateways.map(spend)));
    expect(spent).toBeLessThanOrEqual(1000);
    expect(spent).toBeGreaterThan(800);
  });

  it("refuse a body that is no request for a lease", () => {
    const desk = createAllowanceLeases(
      new LocalAllowances(() => ({ tenants: {} }), manualClock()),
      manualClock(),
    );
    const good = {
      schemaVersion: 1,
      holder: "g",
      tenant: "a",
      meter: "requests",
      needed: 1,
      wanted: 1,
      owed: 0,
    };
    expect(desk.lease(good)).toEqual({ schemaVersion: 1, granted: null });
    for (const wrong of [
      1,
      null,
      { ...good, more: 1 },
      { ...good, meter: "x" },
      { ...good, needed: -1 },
      { ...good, holder: "" },
      { ...good, tenant: "a b" },
      { ...good, schemaVersion: 2 },
    ]) {
      expect(() => desk.lease(wrong)).toThrow(expect.objectContaining({ reason: "invalid-input" }));
    }
  });
});

describe("requests of all tenants under way", () => {
  it("leave a light tenant its time beside a heavy one that is limited to one of two", async () => {
    const p99 = async (heavy: boolean): Promise<number> => {
      const clock = manualClock();
      const rules: QuotaRules = { tenants: { heavy: { concurrency: 1 } }, concurrency: 2 };
      const quotas = createQuotas({
        clock,
        rules: () => rules,
        allowances: new LocalAllowances(() => rules, clock),
      });
      const light = load(clock, quotas, {
        tenant: "light",
        everyMs: (count) => 90 + ((count * 7) % 20),
        forMs: 60_000,
        runMs: 30,
      });
      if (heavy) void load(clock, quotas, { tenant: "heavy", everyMs: () => 9, forMs: 60_000, runMs: 30 });
      const took = await clock.finish(light);
      return took[Math.floor(took.length * 0.99)] ?? NaN;
    };
    expect((await p99(true)) / (await p99(false))).toBeLessThanOrEqual(1.3);
  }, 120_000);

  it("take turns by weight, and a queue of one tenant turns no other away", async () => {
    const clock = manualClock();
    const rules: QuotaRules = { tenants: {}, concurrency: 4 };
    const weightOf = (tenant: string): number => (tenant === "dear" ? 3 : 1);
    const quotas = createQuotas({
      clock,
      rules: () => rules,
      allowances: new LocalAllowances(() => rules, clock),
      weightOf,
    });
    const both = ["dear", "cheap"].map((tenant) =>
      load(clock, quotas, { tenant, everyMs: () => 2, forMs: 4000, runMs: 20 }),
    );
    const [dear, cheap] = (await clock.finish(Promise.all(both))).map(({ length }) => length);
    expect(dear! / cheap!).toBeGreaterThan(2.7);
    expect(dear! / cheap!).toBeLessThan(3.3);
  }, 60_000);
});
