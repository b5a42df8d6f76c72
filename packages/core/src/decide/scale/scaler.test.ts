import { virtualClock } from "@longshore/lab";
import { expect, it } from "vitest";
import { seededRandom } from "../../words/base/index.ts";
import { parseScaleObjective } from "./objective.ts";
import { createScaler, type DemandSample, type ScalerParts } from "./scaler.ts";

const runMs = Float64Array.from({ length: 16 }, (_none, at) => 60 + 5 * at);

function scalerOn(over: Partial<ScalerParts> = {}) {
  const clock = virtualClock();
  const random = seededRandom(3);
  const scaler = createScaler({
    clock,
    objective: parseScaleObjective("p95=250ms"),
    startMs: 60_000,
    idleMs: 300_000,
    most: 100,
    ...over,
  });
  const sample = (arrivals: number): DemandSample => ({ arrivals, runMs, aloneMs: runMs, occupiedMs: 100 });
  /** Requests of a Poisson process for some seconds. */
  const run = async (seconds: number, rate: (second: number) => number, ready?: number): Promise<void> => {
    for (let second = 0; second < seconds; second++) {
      await clock.advance(1000);
      let arrivals = 0;
      for (let at = -Math.log(1 - random.next()); at < rate(second); at -= Math.log(1 - random.next()))
        arrivals++;
      scaler.observe(new Map([["m", sample(arrivals)]]), ready, true);
    }
  };
  return { clock, scaler, run, sample };
}

it("needs one with the first request, and none after the idle time", async () => {
  const { clock, scaler, run, sample } = scalerOn();
  await run(60, () => 0);
  await clock.advance(1000);
  scaler.observe(new Map([["m", sample(1)]]), 0, true);
  expect(scaler.all()).toMatchObject({ needed: 1, active: true });
  await run(299, () => 0);
  expect(scaler.all().needed).toBe(1);
  await run(2, () => 0);
  expect(scaler.all()).toMatchObject({ needed: 0, active: false });
});

it("tells no number before it has one: neither 0 nor a part of what runs", async () => {
  const { clock, scaler, run, sample } = scalerOn();
  const other = scaler.withObjective(parseScaleObjective("p95=400ms"));
  expect(scaler.all()).toMatchObject({ needed: undefined, active: undefined });
  // The counts of a page that is read for the first time are old.
  scaler.observe(new Map([["m", sample(0)]]), 8, true);
  expect(scaler.all()).toMatchObject({ needed: undefined, active: undefined });
  const told: (number | undefined)[] = [];
  for (let second = 0; second < 60; second++) {
    await run(1, () => 40, 8);
    told.push(scaler.all().needed);
    expect(scaler.all().active).toBe(true);
    expect(other.all()).toMatchObject({ active: true });
  }
  const known = told.filter((needed) => needed !== undefined);
  expect(known.length).toBeGreaterThan(40);
  expect(Math.min(...known)).toBeGreaterThanOrEqual((known.at(-1) ?? NaN) - 1);
  await clock.advance(1000);
  // An objective that is stated later finds all that was seen.
  expect(scaler.withObjective(parseScaleObjective("p95=300ms")).model("m")).toMatchObject({
    active: true,
    needed: expect.any(Number) as number,
  });
});

it("is idle only after the idle time, with every source heard", async () => {
  const { clock, scaler, run, sample } = scalerOn();
  await run(299, () => 0);
  expect(scaler.all()).toMatchObject({ needed: undefined, active: undefined });
  for (let second = 0; second < 10; second++) {
    await clock.advance(1000);
    scaler.observe(new Map([["m", sample(0)]]), 0, false);
    expect(scaler.all().active).toBeUndefined();
  }
  await run(1, () => 0);
  expect(scaler.all()).toMatchObject({ needed: 0, active: false });
});

it("always needs one where no time is idle", async () => {
  const { scaler, run } = scalerOn({ idleMs: Infinity });
  await run(20, () => 0);
  expect(scaler.all()).toMatchObject({ needed: 1, active: true });
});

it("asks for what a rise will need when a start that begins now is done", async () => {
  const { scaler, run } = scalerOn();
  await run(900, () => 20);
  const steady = scaler.all().needed;
  expect(steady).toBeGreaterThanOrEqual(3);
  expect(steady).toBeLessThanOrEqual(5);
  // 6 requests a second more in every minute.
  await run(600, (second) => 20 + second / 10);
  // 80 now, 86 in a minute: a load of 8.6.
  expect(scaler.all().comingRate).toBeGreaterThan(86);
  expect(scaler.all().needed).toBeGreaterThanOrEqual(10);
  expect(scaler.all().needed).toBeLessThanOrEqual(14);
});

it("gives up endpoints only when the number was lower for as long as a start takes", async () => {
  const { scaler, run } = scalerOn();
  await run(600, () => 60);
  const busy = scaler.all().needed;
  await run(30, () => 5);
  expect(scaler.all().needed).toBe(busy);
  await run(400, () => 5);
  expect(scaler.all().needed).toBeLessThanOrEqual((busy ?? NaN) / 2);
});

it("learns how long a start takes", async () => {
  const { scaler, run } = scalerOn();
  await run(60, () => 20, 0);
  expect(scaler.startMs).toBe(60_000);
  await run(30, () => 20, 4);
  expect(scaler.startMs).toBeGreaterThan(30_000);
  expect(scaler.startMs).toBeLessThanOrEqual(61_000);
});

it("decides for a model with endpoints of its own, and for all together", async () => {
  const { clock, scaler, sample } = scalerOn();
  for (let second = 0; second < 300; second++) {
    await clock.advance(1000);
    scaler.observe(
      new Map([
        ["a", sample(30)],
        ["b", sample(10)],
      ]),
      undefined,
      true,
    );
  }
  const [a, b, all] = [scaler.model("a")?.needed ?? 0, scaler.model("b")?.needed ?? 0, scaler.all().needed];
  expect(a).toBeGreaterThan(b);
  expect(all).toBeGreaterThan(a);
  expect(all).toBeLessThanOrEqual(a + b);
  expect(scaler.model("c")).toBeUndefined();
  expect(scaler.models).toEqual(["a", "b"]);
});

it("believes no rate after the first arrivals that nothing seen supports", async () => {
  const { scaler, run } = scalerOn();
  // As on a deployment: nothing for a while, then a steady load.
  await run(600, () => 0);
  let highest = 0;
  let most = 0;
  for (let second = 0; second < 300; second++) {
    await run(1, () => 4);
    const { comingRate, needed } = scaler.all();
    highest = Math.max(highest, comingRate);
    most = Math.max(most, needed ?? 0);
  }
  expect(highest).toBeGreaterThan(4);
  expect(highest).toBeLessThan(20);
  expect(most).toBeLessThanOrEqual(4);
});

it("believes the first rate of a process that sees arrivals at once", async () => {
  const { scaler, run } = scalerOn();
  let highest = 0;
  for (let second = 0; second < 300; second++) {
    await run(1, () => 40);
    highest = Math.max(highest, scaler.all().comingRate);
  }
  expect(highest).toBeLessThan(200);
});

it("asks for as many whether counts come each second or each quarter of a minute", async () => {
  const often = scalerOn();
  const seldom = scalerOn();
  let waiting = 0;
  const random = seededRandom(5);
  for (let second = 1; second <= 1200; second++) {
    let arrivals = 0;
    for (let at = -Math.log(1 - random.next()); at < 40; at -= Math.log(1 - random.next())) arrivals++;
    waiting += arrivals;
    await often.clock.advance(1000);
    await seldom.clock.advance(1000);
    often.scaler.observe(new Map([["m", often.sample(arrivals)]]), undefined, true);
    if (second % 15 > 0) continue;
    seldom.scaler.observe(new Map([["m", seldom.sample(waiting)]]), undefined, true);
    waiting = 0;
  }
  expect(
    Math.abs((often.scaler.all().needed ?? NaN) - (seldom.scaler.all().needed ?? NaN)),
  ).toBeLessThanOrEqual(1);
});

it("learns that crowds here rise no further after a minute", async () => {
  const { scaler, run } = scalerOn();
  /** A crowd: up within a minute, five minutes at four times the usual, down within a minute. */
  const crowd = (second: number): number =>
    10 + 30 * Math.max(0, Math.min(1, second / 60, (420 - second) / 60));
  const highest: number[] = [];
  for (let hour = 0; hour < 10; hour++) {
    await run(1800, () => 10);
    let most = 0;
    for (let second = 0; second < 420; second++) {
      await run(1, () => crowd(second));
      if (second > 180 && second < 300) most = Math.max(most, scaler.all().comingRate);
    }
    highest.push(most);
  }
  expect(highest.at(-1)).toBeGreaterThan(35);
  expect(highest.at(-1)).toBeLessThan(0.7 * (highest[0] ?? 0));
});
