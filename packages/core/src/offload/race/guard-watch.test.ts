import { doubleEndpoint, manualClock } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { housekeepingCall, LongshoreError, seededRandom } from "../../words/base/index.ts";
import { certain, type Estimate, estimateSize } from "../../words/estimate/index.ts";
import { deviceDemand, idleDevice } from "../../decide/estimate/index.ts";
import type { Link } from "../../wire/transport/index.ts";
import type { Leg } from "../../decide/plan/index.ts";
import { elsewhereMs, guardAlone, guardFor, type GuardTimes, lateAloneMs } from "./guard-times.ts";
import { guardWatch } from "./guard-watch.ts";
import { localWork } from "../endpoints/index.ts";
import { followEndpoint } from "../endpoints/index.ts";

const spread = (low: number, high: number): Estimate => ({
  values: Float64Array.from({ length: estimateSize }, (_, index) => low + ((high - low) * index) / 15),
  observedAtMs: 0,
  origin: "measured",
});

/** A remote leg of 100 kB: up in 20 to 60 ms, 10 ms there, back at once. */
const leg: Leg = {
  id: "remote",
  segment: { model: "m", version: "1", digest: "", variant: "v", from: "start", to: "end" },
  endpoint: "edge",
  takes: "request",
  codecs: {},
  state: "none",
  starts: [{ on: "begin" }],
  spends: "nothing",
  predicted: {
    completionMs: spread(30, 70),
    deviceMillijoules: 0,
    costMicros: 0,
    mostMicros: 0,
    agreementRatio: 1,
    accuracyRatio: undefined,
    sentBytes: 100_000,
  },
  travels: { upMs: spread(20, 60), thereMs: certain(10), downMs: certain(0), promisedMs: 10 },
};

/** The same without a way to another endpoint. */
const { travels: _travels, ...staying } = leg;

/** Mostly below 33 ms, and the two longest. */
const usually = (...longest: readonly [number, number]): Estimate => ({
  ...certain(0),
  values: Float64Array.of(2, 3, 3, 4, 5, 6, 6, 8, 9, 12, 16, 22, 31, 33, ...longest),
});

function watched(change: {
  readonly drainMs?: () => number;
  /** Tells the link how long the rest of the body takes. Default: the link is not told. */
  readonly wayMs?: () => number;
  /** Called when the link learns of silence without being read. */
  readonly quiet?: (nowMs: number) => void;
  /** Until this device is free; default at once. */
  readonly freeMs?: (nowMs: number) => number;
  readonly deadlineMs?: number;
  readonly latestMs?: number;
  readonly tokens?: number;
  readonly lostMs?: number;
  /** Of an endpoint that is proven then, unless it `failed`. */
  readonly usualMs?: number;
  /** It was gone, and has answered nothing since. */
  readonly failed?: boolean;
  /** Default 100 ms. */
  readonly backUpMs?: () => number;
  /** Of a back-up here, what of that is its queue. */
  readonly waitMs?: () => number;
  readonly lateRatio?: GuardTimes["lateRatio"];
  readonly keepBack?: GuardTimes["keepBack"];
  readonly hurries?: boolean;
  /** The prediction of a leg whose back-up is at another endpoint. */
  readonly elsewhere?: Estimate;
  /** Whether the back-up cannot start now. */
  readonly refuses?: () => boolean;
  /** Whether the body is still on its way here. */
  readonly waits?: () => boolean;
  readonly leg?: Leg;
}) {
  const clock = manualClock();
  const { drainMs, wayMs } = change;
  const link: Link | undefined = drainMs && {
    transferMs: () => certain(drainMs()),
    roundTripMs: () => certain(1),
  };
  const endpoint = followEndpoint(doubleEndpoint([]), link, clock, seededRandom(1), {
    burst: change.tokens ?? 10,
  });
  if (change.usualMs !== undefined) for (let count = 0; count < 5; count++) endpoint.outcomes.answered(-1);
  if (change.failed) endpoint.outcomes.failed(new LongshoreError("unreachable", "transport", "made up"), -1);
  let firedAtMs: number | undefined;
  let wasLost: boolean | undefined;
  const own = change.elsewhere
    ? { ...leg, predicted: { ...leg.predicted, completionMs: change.elsewhere } }
    : (change.leg ?? leg);
  const watch = guardWatch({
    clock,
    endpoint,
    leg: own,
    times: {
      device: () => idleDevice,
      latestMs: change.latestMs ?? 10_000,
      backUpMs: change.backUpMs ?? (() => 100),
      ...(change.waitMs ? { waitMs: change.waitMs } : {}),
      ...(change.freeMs ? { freeMs: change.freeMs } : {}),
      ...(change.lateRatio ? { lateRatio: change.lateRatio } : {}),
      ...(change.keepBack ? { keepBack: change.keepBack } : {}),
      afterMs: 0,
      earliestMs: 0,
      lostMs: Infinity,
      ...(change.lostMs === undefined ? {} : { lostMs: change.lostMs }),
      ...(change.elsewhere ? elsewhereMs(change.elsewhere) : {}),
    },
    aloneMs: lateAloneMs(endpoint, own, clock.nowMs()),
    call: { ...housekeepingCall("test"), deadlineMs: change.deadlineMs ?? Infinity },
    ...(change.usualMs === undefined ? {} : { usualMs: change.usualMs }),
    ...(change.waits ? { waits: change.waits } : {}),
    ...(change.hurries === undefined ? {} : { hurries: change.hurries }),
    ...(wayMs
      ? { way: () => ({ remainingMs: () => certain(wayMs()), quiet: change.quiet ?? (() => undefined) }) }
      : {}),
    fire: (because) => {
      if (change.refuses?.() === true) return false;
      firedAtMs = clock.nowMs();
      wasLost = because !== "late";
      return true;
    },
  });
  return { clock, watch, endpoint, fired: () => firedAtMs, lost: () => wasLost };
}

describe("guardWatch", () => {
  it("stays quiet while the answer may still come as believed, and fires when it should have been here", async () => {
    const { clock, fired } = watched({});
    await clock.advance(65);
    expect(fired()).toBeUndefined();
    await clock.advance(60);
    expect(fired()).toBeGreaterThan(65);
    expect(fired()).toBeLessThan(130);
    expect(clock.armed()).toBe(0);
  });

  it("goes by the link's belief once something was acknowledged", async () => {
    let drain = 30;
    const slow = watched({ drainMs: () => drain });
    await slow.clock.advance(20);
    slow.watch.acknowledged(40_000);
    expect(slow.fired()).toBeUndefined();
    // The link is believed dead from now on: silence is evidence, and the next look takes it in.
    drain = 4000;
    await slow.clock.advance(25);
    expect(slow.fired()).toBeLessThanOrEqual(45);
  });

  it("goes by what the link believes of this body, not of all that was sent after it", async () => {
    const firedMs = async (wayMs?: () => number): Promise<number> => {
      const { clock, fired, watch } = watched({ drainMs: () => 4000, ...(wayMs ? { wayMs } : {}) });
      await clock.advance(20);
      watch.acknowledged(40_000);
      await clock.advance(30);
      watch[Symbol.dispose]();
      return fired() ?? Infinity;
    };
    expect(await firedMs(() => 20)).toBe(Infinity);
    expect(await firedMs(() => 4000)).toBeLessThanOrEqual(40);
    // Bytes that its link was not told of wait behind all of it.
    expect(await firedMs()).toBeLessThanOrEqual(40);
  });

  it("looks often enough to start the last run that is in time", async () => {
    let wayMs = 20;
    const { clock, fired, watch } = watched({ drainMs: () => wayMs, wayMs: () => wayMs, waitMs: () => 0 });
    watch.acknowledged(20_000);
    // Of 1.3 runs of 100 ms a run that starts at 30 is the last in time.
    await clock.advance(21);
    wayMs = 4000;
    await clock.advance(40);
    expect(fired()).toBeLessThanOrEqual(30);
  });

  it("does not read the link's belief while this device is busy beyond the next check, but lets it learn of the silence", async () => {
    let [reads, quiet] = [0, 0];
    const { clock, fired, watch } = watched({
      drainMs: () => 4000,
      wayMs: () => {
        reads++;
        return 4000;
      },
      quiet: () => void quiet++,
      waitMs: () => 0,
      freeMs: (nowMs) => Math.max(0, 100 - nowMs),
    });
    watch.acknowledged(20_000);
    await clock.advance(80);
    expect(reads).toBe(0);
    expect(quiet).toBeGreaterThanOrEqual(8);
    await clock.advance(40);
    expect(reads).toBeGreaterThan(0);
    expect(fired()).toBeLessThanOrEqual(110);
  });

  it("watches the endpoint and not the link when the whole body is there", async () => {
    const { clock, watch, fired } = watched({ drainMs: () => 5000 });
    await clock.advance(15);
    watch.acknowledged(100_000);
    await clock.advance(9);
    expect(fired()).toBeUndefined();
    await clock.advance(300);
    expect(fired()).toBeDefined();
  });

  it("lets an answer be read first that came while this process was held up", async () => {
    let heldUpMs = 0;
    const { clock, endpoint } = watched({});
    const unread: Disposable[] = [];
    // Arrived bytes are read before a timer without delay fires, and after timers that are due.
    const late: typeof clock = {
      ...clock,
      nowMs: () => clock.nowMs() + heldUpMs,
      timer: (delayMs, fire) =>
        clock.timer(delayMs, () => {
          if (delayMs === 0) for (const answered of unread.splice(0)) answered[Symbol.dispose]();
          fire();
        }),
    };
    const fired: number[] = [];
    const watch = (): ReturnType<typeof guardWatch> =>
      guardWatch({
        clock: late,
        endpoint,
        leg,
        times: {
          device: () => idleDevice,
          latestMs: 10_000,
          earliestMs: 0,
          lostMs: 500,
          backUpMs: () => 100,
          afterMs: 0,
        },
        aloneMs: lateAloneMs(endpoint, leg, clock.nowMs()),
        call: housekeepingCall("test"),
        fire: () => fired.push(late.nowMs()) > 0,
      });
    unread.push(watch());
    const silent = watch();
    heldUpMs = 5000;
    await clock.advance(100);
    expect(fired).toHaveLength(1);
    silent[Symbol.dispose]();
  });

  it("fires at the latest when it was told to, and pays for it", async () => {
    const { clock, fired, endpoint } = watched({ drainMs: () => 0, latestMs: 40, waitMs: () => 0 });
    await clock.advance(39);
    expect(fired()).toBeUndefined();
    await clock.advance(2);
    expect(fired()).toBe(40);
    expect(endpoint.tries.books.prices(40).secondRun).toBeGreaterThan(0.3);
  });

  it("starts sooner for a deadline where more waits here than when it was planned", async () => {
    let backUpMs = 100;
    const { clock, fired } = watched({
      latestMs: 300,
      hurries: false,
      deadlineMs: 400,
      backUpMs: () => backUpMs,
    });
    await clock.advance(50);
    backUpMs = 180;
    await clock.advance(165);
    expect(fired()).toBeUndefined();
    await clock.advance(10);
    expect(fired()).toBe(220);
  });

  it("begins no run here that would come after the deadline", async () => {
    const firedMs = async (backUpMs: number, waitMs?: () => number): Promise<number> => {
      const { clock, fired, watch } = watched({
        drainMs: () => 4000,
        deadlineMs: 200,
        latestMs: 0,
        backUpMs: () => backUpMs,
        ...(waitMs ? { waitMs } : {}),
      });
      await clock.advance(200);
      watch[Symbol.dispose]();
      return fired() ?? Infinity;
    };
    expect(await firedMs(190, () => 0)).toBe(0);
    expect(await firedMs(210, () => 0)).toBe(Infinity);
    // Elsewhere it may be quicker than its mean, and keeps nobody here waiting.
    expect(await firedMs(210)).toBe(0);
  });

  it("begins no run here for a deadline that the answer keeps by all that is believed, where nobody hurries", async () => {
    let wayMs = 60;
    const saving = {
      drainMs: () => wayMs,
      wayMs: () => wayMs,
      waitMs: () => 0,
      deadlineMs: 200,
      latestMs: 90,
    } as const;
    const { clock, fired, watch } = watched({ ...saving, hurries: false });
    watch.acknowledged(20_000);
    await clock.advance(95);
    expect(fired()).toBeUndefined();
    // The link falls silent again while a run here is still in time.
    wayMs = 4000;
    await clock.advance(6);
    expect(fired()).toBe(100);
    const gone = watched({ ...saving, hurries: false });
    gone.watch.acknowledged(20_000);
    await gone.clock.advance(95);
    expect(gone.fired()).toBe(90);
  });

  it("begins a run here for a deadline no sooner than the answer and a later run would both miss it, where nobody hurries", async () => {
    const firedMs = async (lateRatio: (leftMs: number) => number, longMs = 4000): Promise<number> => {
      const { clock, fired, watch } = watched({
        drainMs: () => 30,
        wayMs: () => 30,
        waitMs: () => 0,
        deadlineMs: 200,
        latestMs: 80,
        hurries: false,
        lateRatio,
        leg: { ...leg, travels: { ...leg.travels!, thereMs: usually(40, longMs) } },
      });
      watch.acknowledged(20_000);
      await clock.advance(200);
      watch[Symbol.dispose]();
      return fired() ?? Infinity;
    };
    // One answer of sixteen comes after any deadline.
    expect(await firedMs(() => 1)).toBe(80);
    expect(await firedMs((leftMs) => (leftMs < 100 ? 1 : 0))).toBe(100);
    // Most runs are in time, and most answers: until no run begins any more, which is expected to take 100 ms.
    expect(await firedMs(() => 0.3)).toBe(100);
    // It comes as the deadline passes.
    expect(await firedMs(() => 0.3, 60)).toBe(Infinity);
  });

  it("begins before another run here that would make it late, and only then", async () => {
    let wouldWait: (longerMs: number) => void = () => undefined;
    let kept = false;
    const { fired, watch } = watched({
      drainMs: () => 4000,
      deadlineMs: 400,
      latestMs: 290,
      tokens: 1,
      waitMs: () => 0,
      keepBack: (deadlineMs, before) => {
        expect(deadlineMs).toBe(400);
        kept = true;
        wouldWait = before;
        return { [Symbol.dispose]: () => void (kept = false) };
      },
    });
    wouldWait(200);
    expect([fired(), kept]).toEqual([undefined, true]);
    wouldWait(300);
    // A run that has begun is no longer held back, unless it gave nothing.
    expect([fired(), kept]).toEqual([0, false]);
    watch.again();
    expect(kept).toBe(true);
    watch[Symbol.dispose]();
    expect(kept).toBe(false);
  });

  it("starts what is far sooner at once, and pays for it", () => {
    const { watch, fired, lost, clock, endpoint } = watched({});
    const before = endpoint.tries.books.prices(0).secondRun;
    expect([watch.sooner(), fired(), lost()]).toEqual([true, 0, false]);
    expect(watch.sooner()).toBe(false);
    expect(clock.armed()).toBe(0);
    expect(endpoint.tries.books.prices(0).secondRun).toBeGreaterThan(before);
  });

  it("goes into debt only for a deadline that nothing else keeps", async () => {
    const poor = watched({ latestMs: 40, hurries: false });
    await poor.clock.advance(1000);
    expect(poor.fired()).toBeUndefined();
    poor.watch[Symbol.dispose]();
    expect(poor.clock.armed()).toBe(0);
    const bound = watched({ latestMs: 40, hurries: false, deadlineMs: 200 });
    await bound.clock.advance(60);
    expect(bound.fired()).toBe(40);
  });

  it("takes a request for lost after a while, and sooner where the endpoint failed others, whatever the budget has", async () => {
    const silent = watched({ hurries: false, lostMs: 500 });
    await silent.clock.advance(499);
    expect(silent.fired()).toBeUndefined();
    await silent.clock.advance(20);
    expect([silent.fired(), silent.lost()]).toEqual([500, true]);
    const failing = watched({ hurries: false, lostMs: 500 });
    await failing.clock.advance(50);
    failing.endpoint.outcomes.failed(
      new LongshoreError("no-answer", "execute", "made up"),
      failing.clock.nowMs(),
    );
    // Not as long as this one is not late itself.
    await failing.clock.advance(19);
    expect(failing.fired()).toBeUndefined();
    await failing.clock.advance(25);
    expect([failing.fired(), failing.lost()]).toEqual([80, true]);
    const other = watched({ hurries: false });
    other.endpoint.outcomes.failed(new LongshoreError("no-answer", "execute", "made up"), 0);
    await other.clock.advance(1000);
    expect(other.fired()).toBeUndefined();
    other.watch[Symbol.dispose]();
  });

  it("tries a late request elsewhere soon after its endpoint failed others, however long it might take at worst", async () => {
    const { clock, endpoint, fired, lost } = watched({ hurries: false, elsewhere: usually(800, 10_000) });
    await clock.advance(10);
    endpoint.outcomes.failed(new LongshoreError("no-answer", "execute", "made up"), clock.nowMs());
    await clock.advance(20);
    expect(fired()).toBeUndefined();
    await clock.advance(25);
    expect(fired()).toBeLessThan(55);
    expect(lost()).toBe(true);
  });

  it("starts a back-up here soon where the answer is likely to be late", async () => {
    const dear: Leg = {
      ...staying,
      predicted: { ...leg.predicted, completionMs: usually(90, 240) },
    };
    const firedMs = async (change: Parameters<typeof watched>[0]): Promise<number> => {
      const { clock, fired, watch } = watched({ leg: dear, ...change });
      await clock.advance(400);
      watch[Symbol.dispose]();
      return fired() ?? Infinity;
    };
    expect(await firedMs({ waitMs: () => 0 })).toBeLessThanOrEqual(40);
  });

  it("takes silence for evidence from the beginning where the endpoint tells what it has", async () => {
    const firedMs = async (tells: boolean): Promise<number> => {
      const { clock, fired, endpoint, watch } = watched({ drainMs: () => 500, wayMs: () => 500 });
      endpoint.link.tells = tells;
      await clock.advance(60);
      watch[Symbol.dispose]();
      return fired() ?? Infinity;
    };
    expect(await firedMs(true)).toBeLessThanOrEqual(25);
    expect(await firedMs(false)).toBe(Infinity);
  });

  it("takes an endpoint that tells nothing for silent itself, however well its link is", async () => {
    const { clock, fired, endpoint, watch } = watched({ drainMs: () => 1 });
    endpoint.link.tells = true;
    await clock.advance(200);
    watch[Symbol.dispose]();
    expect(fired()).toBeLessThan(130);
  });

  it("knows from each body whether an endpoint tells of them while they arrive", async () => {
    const { endpoint, watch } = watched({ drainMs: () => 30 });
    watch.acknowledged(20_000);
    expect(endpoint.link.tells).toBe(true);
    watch.acknowledged(99_100);
    expect(endpoint.link.tells).toBe(true);
    watch[Symbol.dispose]();
    const silent = watched({ drainMs: () => 30 });
    silent.endpoint.link.tells = true;
    silent.watch.acknowledged(99_100);
    expect(silent.endpoint.link.tells).toBe(false);
    silent.watch[Symbol.dispose]();
    // More than half of a body is not all of it.
    const most = watched({ drainMs: () => 30 });
    most.watch.acknowledged(90_000);
    expect(most.endpoint.link.tells).toBe(true);
    most.watch[Symbol.dispose]();
  });

  it("does not wait for ever at an endpoint that hangs where no deadline says when to start, nor without means", () => {
    const backUp: Leg = { ...staying, id: "local", holdsMs: 100 };
    const planned = { backUp, here: true, tail: undefined };
    const loop = { clock: manualClock(), work: localWork(1), arrivals: deviceDemand(), strainRatio: () => 0 };
    const { lostMs } = elsewhereMs(leg.predicted.completionMs);
    expect(guardFor(loop.clock, loop, leg, { ...planned, latestMs: Infinity }).lostMs).toBe(lostMs);
    expect(guardFor(loop.clock, loop, leg, { ...planned, latestMs: 80 }).lostMs).toBe(Infinity);
  });

  it("charges a run here for the next request only where it takes the last slot", () => {
    const backUp: Leg = { ...staying, id: "local", holdsMs: 100 };
    const planned = { backUp, here: true, tail: undefined, latestMs: 80 };
    const rhythm = deviceDemand();
    for (const atMs of [0, 500]) rhythm.seen(atMs);
    const nextOf = (slots: number): number => {
      const loop = { clock: manualClock(), work: localWork(slots), arrivals: rhythm, strainRatio: () => 0 };
      return guardFor(loop.clock, loop, leg, planned).device(500, 600).heldMs(600);
    };
    expect([nextOf(1) > 0, nextOf(2)]).toEqual([true, 0]);
  });

  it("gives its turn up for others until it would be later than the latest on a device where all requests run", () => {
    const predicted = { ...staying.predicted, completionMs: certain(20) };
    const backUp: Leg = { ...staying, id: "local", holdsMs: 100, predicted };
    const rhythm = deviceDemand();
    for (const atMs of [0, 10]) {
      rhythm.seen(atMs);
      rhythm.price(atMs, 100);
    }
    // A length is known from the second request on: runs end at 110, 210 and 310 ms.
    for (const atMs of [20, 30]) rhythm.seen(atMs);
    expect(rhythm.allHereMs).toBe(310);
    const loop = { clock: manualClock(), work: localWork(1), arrivals: rhythm, strainRatio: () => 0 };
    const times = guardFor(loop.clock, loop, leg, {
      backUp,
      here: true,
      tail: undefined,
      latestMs: Infinity,
    });
    expect(times.waiting?.(300)).toEqual({ runs: 0, ms: 0 });
    expect(times.waiting?.(310)).toBeUndefined();
    // A burst that goes on: the last one would take 460 ms, so the first may wait as long, less three runs of 20 ms.
    rhythm.seen(40);
    rhythm.seen(50);
    expect(rhythm.longestHereMs).toBe(460);
    expect(times.waiting?.(399)).toEqual({ runs: 0, ms: 0 });
    expect(times.waiting?.(400)).toBeUndefined();
    // Long after it only its own time counts again.
    for (let atMs = 2000; atMs < 2000 + 32 * 200; atMs += 200) rhythm.seen(atMs);
    expect(rhythm.longestHereMs).toBe(100);
    expect(times.waiting?.(309)).toEqual({ runs: 0, ms: 0 });
    expect(times.waiting?.(310)).toBeUndefined();
  });

  it("tries again where the back-up could not start", async () => {
    let refuses = true;
    const { clock, fired, lost } = watched({ lostMs: 300, hurries: false, refuses: () => refuses });
    await clock.advance(400);
    expect(fired()).toBeUndefined();
    refuses = false;
    await clock.advance(100);
    expect(fired()).toBeGreaterThan(400);
    expect(lost()).toBe(true);
    expect(clock.armed()).toBe(0);
    const paid = watched({ latestMs: 40, refuses: () => true });
    await paid.clock.advance(500);
    // A run that could not start costs nothing; one in debt costs more.
    expect(paid.endpoint.tries.books.prices(500).secondRun).toBe(0.3);
    paid.watch[Symbol.dispose]();
  });

  it("counts requests queued after a lost one as lost, too, but not once the endpoint has answered something", async () => {
    const { travels, predicted } = leg;
    // It was to wait 490 ms for others.
    const queued: Leg = {
      ...leg,
      predicted: { ...predicted, completionMs: spread(520, 560) },
      travels: { ...travels!, thereMs: certain(500) },
    };
    const mute = watched({ hurries: false, lostMs: 2000, leg: queued });
    mute.endpoint.legs.began(10, 0);
    mute.endpoint.record.missed(1);
    await mute.clock.advance(35);
    expect(mute.fired()).toBeUndefined();
    await mute.clock.advance(100);
    expect([mute.fired()! < 85, mute.lost(), mute.endpoint.record.mute]).toEqual([true, true, true]);
    const alive = watched({ hurries: false, lostMs: 2000, leg: queued });
    alive.endpoint.legs.began(10, 0);
    alive.endpoint.record.missed(1);
    await alive.clock.advance(20);
    alive.endpoint.outcomes.answered(20);
    await alive.clock.advance(1900);
    expect([alive.fired(), alive.endpoint.record.mute]).toEqual([undefined, false]);
    alive.endpoint.record.missed(10);
    expect(alive.endpoint.record.mute).toBe(false);
    alive.watch[Symbol.dispose]();
  });

  it("notices soon that an endpoint has gone mute, also where no second run is near", async () => {
    const { clock, endpoint, fired, lost } = watched({ hurries: false, elsewhere: spread(900, 1000) });
    await clock.advance(1010);
    endpoint.legs.began(10, 0);
    endpoint.record.missed(1);
    await clock.advance(30);
    expect([fired()! <= 1030, lost()]).toEqual([true, true]);
  });

  it("takes an endpoint for silent that answers nothing for longer than its last answers took, whatever is expected of the way", async () => {
    const expected = { hurries: false, elsewhere: spread(900, 1000), usualMs: 60 };
    const silent = watched(expected);
    silent.endpoint.legs.began(10, 0);
    await silent.clock.advance(149);
    expect(silent.fired()).toBeUndefined();
    await silent.clock.advance(2);
    expect([silent.fired(), silent.lost(), silent.endpoint.record.mute]).toEqual([150, true, true]);
    const busy = watched(expected);
    await busy.clock.advance(10);
    busy.endpoint.outcomes.answered(10);
    await busy.clock.advance(141);
    expect(busy.fired()).toBeUndefined();
    busy.watch[Symbol.dispose]();
  });

  it("counts an endpoint as silent, too, that was gone and is tried again", async () => {
    const back = watched({ hurries: false, elsewhere: spread(300, 350), usualMs: 60, failed: true });
    expect(back.endpoint.record.proven).toBe(false);
    await back.clock.advance(149);
    expect(back.fired()).toBeUndefined();
    await back.clock.advance(2);
    expect([back.fired(), back.lost()]).toEqual([150, true]);
  });

  it("does not take an endpoint for silent that has just taken some of the body, and does when it takes no more", async () => {
    const expected = { hurries: false, elsewhere: spread(900, 1000), usualMs: 60 };
    const stalled = watched(expected);
    await stalled.clock.advance(140);
    stalled.watch.acknowledged(10_000);
    await stalled.clock.advance(140);
    stalled.watch.acknowledged(100_000);
    await stalled.clock.advance(149);
    expect([stalled.fired(), stalled.endpoint.record.mute]).toEqual([undefined, false]);
    await stalled.clock.advance(2);
    expect([stalled.fired(), stalled.lost()]).toEqual([430, true]);
    const hung = watched(expected);
    hung.watch.acknowledged(10_000);
    await hung.clock.advance(149);
    expect(hung.fired()).toBeUndefined();
    await hung.clock.advance(2);
    expect([hung.fired(), hung.lost()]).toEqual([150, true]);
  });

  it("leaves silence of a link that has the body to the guard of a run here, where that may be paid to be quicker", async () => {
    const lostAt = async (hurries: boolean): Promise<readonly unknown[]> => {
      const here = { hurries, waitMs: () => 0, lostMs: 1000, latestMs: Infinity, usualMs: 60 };
      // The link is believed to be back soon, each time it is asked.
      const { clock, watch, fired, lost } = watched({ ...here, drainMs: () => 40 });
      watch.acknowledged(10_000);
      await clock.advance(1001);
      watch[Symbol.dispose]();
      return [fired(), lost()];
    };
    expect(await lostAt(true)).toEqual([undefined, undefined]);
    // Looked at every 10 ms.
    expect(await lostAt(false)).toEqual([150, true]);
  });

  it("blames no endpoint for what a body takes that is still on its way here, and begins to when it is here", async () => {
    let waits = true;
    const { clock, endpoint, fired, lost } = watched({
      hurries: false,
      elsewhere: spread(90, 100),
      usualMs: 60,
      waits: () => waits,
    });
    endpoint.legs.began(10, 0);
    await clock.advance(2000);
    expect([fired(), endpoint.record.mute]).toEqual([undefined, false]);
    waits = false;
    await clock.advance(145);
    expect([fired(), endpoint.record.mute]).toEqual([undefined, false]);
    await clock.advance(30);
    expect([fired()! > 2145, lost(), endpoint.record.mute]).toEqual([true, true, true]);
  });

  it("takes no price for time that an answer may need", () => {
    const { endpoint, watch } = watched({});
    const { travels } = leg;
    // Charged 500 ms for having failed, and a way that may be silent for seconds.
    const charged: Leg = {
      ...leg,
      travels: { ...travels!, upMs: usually(8000, 10_000), thereMs: certain(510) },
    };
    expect(lateAloneMs(endpoint, charged, 0)).toBeCloseTo(10 + 3.7, 0);
    // A way that is only spread is not silent.
    const spreadOut: Leg = { ...leg, travels: { ...travels!, upMs: spread(200, 700) } };
    expect(lateAloneMs(endpoint, spreadOut, 0)).toBeCloseTo(10 + 610, 0);
    watch[Symbol.dispose]();
  });

  it("takes no silence of a link for time that an answer may need, however quick the least that is believed of it", () => {
    let wayMs = spread(1, 3);
    const link: Link = { transferMs: () => wayMs, roundTripMs: () => certain(1) };
    const endpoint = followEndpoint(doubleEndpoint([]), link, manualClock(), seededRandom(1), undefined);
    const aloneMs = (): number =>
      lateAloneMs(endpoint, { ...leg, travels: { ...leg.travels!, upMs: wayMs, downMs: wayMs } }, 0);
    const usualMs = aloneMs();
    endpoint.reports.offers([], 10, true);
    wayMs = spread(2, 6);
    endpoint.link.refresh(20);
    // It has become slower since, and answers questions.
    expect(aloneMs()).toBeCloseTo(10 + 2 * (usualMs - 10), 5);
    wayMs = spread(800, 8000);
    endpoint.link.refresh(1020);
    expect(aloneMs()).toBeLessThan(10 + 4 * (usualMs - 10));
  });

  it("knows how often a run here is late, after the runs that wait here by then", () => {
    const work = localWork(1);
    const before = work.begin(50, 0);
    const run: Leg = {
      ...leg,
      predicted: { ...leg.predicted, completionMs: spread(150, 180) },
    };
    const loop = { clock: manualClock(), work, arrivals: deviceDemand(), strainRatio: () => 0 };
    const { lateRatio } = guardFor(loop.clock, loop, leg, {
      backUp: run,
      here: true,
      tail: undefined,
      latestMs: 80,
    });
    expect([lateRatio?.(149), lateRatio?.(180)]).toEqual([1, 0]);
    expect(lateRatio?.(165)).toBeCloseTo(0.5, 5);
    before.ended();
    expect([lateRatio?.(99), lateRatio?.(130)]).toEqual([1, 0]);
  });

  it("starts a third run for the deadline as late as that allows, where second runs are dear or no deadline is near", () => {
    const { completionMs } = leg.predicted;
    const { overdueMs } = elsewhereMs(completionMs);
    const [usual, dear] = [
      { secondRun: 0.3, missed: 30 },
      { secondRun: 4, missed: 30 },
    ];
    expect(guardAlone(leg, usual, true, 60_000).latestMs).toBeLessThanOrEqual(overdueMs);
    expect(guardAlone(leg, usual, false, 60_000).latestMs).toBe(59_999 - 70);
    expect(guardAlone(leg, dear, true, 60_000).latestMs).toBe(59_999 - 70);
    expect(guardAlone(leg, dear, true, Infinity).latestMs).toBe(Infinity);
    // Where it could not keep it even if it began at once, it does not.
    expect(guardAlone(leg, dear, true, 20).latestMs).toBe(Infinity);
  });

  it("does not take what is unknown of a silent link for time that a request may need", () => {
    const known = elsewhereMs(usually(40, 50));
    const silent = elsewhereMs(usually(800, 10_000));
    expect(silent.lostMs).toBeLessThan(2 * known.lostMs);
    expect(elsewhereMs(certain(1)).lostMs).toBe(100);
  });
});
