import type { LoadReport } from "../../wire/endpoint/index.ts";

/**
 * How long a request that is sent to an endpoint now would wait there, between two things that the endpoint says.
 *
 * A report is exact when it is written and wrong a moment later. Letting it fade into what is usual is the obvious answer,
 * and a poor one: a queue of a hundred milliseconds that nobody adds to is gone after a hundred milliseconds, and what this
 * endpoint sends meanwhile waits behind what it sent before. So the queue is followed as a fluid. It drains by a millisecond
 * each millisecond, own requests add what they are expected to run, and the part that others cause comes back as time
 * passes: at each report the requests that are not ours tell how much that is. An endpoint that runs several requests at once
 * adds nothing to its queue until the last of its slots is taken, and from then on each request adds its run: with one slot the
 * first. How many slots there are shows in reports of requests in flight and no wait: one more than those, or as many where a
 * server only counts and says nothing of who comes next. Such servers give means: a slot that others take for a part of the
 * time is free for the rest of it. Where requests share runs, those in flight are as many runs as they are usually put into,
 * and each that does not find its slot empty adds its share of a run, as the endpoint tells it. When the last of ours was answered,
 * what others were reported to have there is all that there can be.
 *
 * Invariant: right after a report the belief is the report, plus what was sent since it was written.
 */
export interface QueueBelief {
  /** A request of ours left, which is expected to run for that long. Gives what that added to the queue, in milliseconds. */
  sent(serviceMs: number, nowMs: number): number;
  /**
   * The endpoint never took a request that was sent at `sentAtMs` and added `addedMs` to the queue, or dropped it when it closed the connection: what it
   * added is given back, unless a report that came since has counted anew.
   */
  withdrawn(sentAtMs: number, addedMs: number, nowMs: number): void;
  /** One of ours is over; where it was answered nothing of it is left there. */
  ended(nowMs: number, answered: boolean): void;
  /**
   * An endpoint said how busy it is, in a message that was under way for `delayMs`. What came with an answer does not count the
   * request that it answers, which is told to be over at the same instant, before.
   */
  reported(load: LoadReport, nowMs: number, delayMs: number): void;
  /** It said how long its queue is, and nothing of whose it is. */
  offered(queueMs: number, nowMs: number): void;
  waitMs(nowMs: number): number;
  /** What the wait at any instant until the next news follows from. */
  outlook(nowMs: number): QueueOutlook;
  /** Others send there, too, as far as was seen in the last minutes: what is believed goes wrong without our doing. */
  shared(nowMs: number): boolean;
  /** When it last said how busy it is. */
  readonly reportedAtMs: number;
  /** Requests of ours under way. */
  readonly underWay: number;
  /** What a request of ours usually runs there; 0 before the first. */
  readonly serviceMs: number;
}

/** A queue as it goes on by itself: see `waitMs` for the wait at an instant. */
export interface QueueOutlook {
  /** When what is accounted for will be done, and what is left at least as long as something is under way. */
  readonly emptyAtMs: number;
  readonly leastMs: number;
  /** What others usually cause; it comes back within about `memoryMs` after the last report. */
  readonly othersMs: number;
  readonly reportedAtMs: number;
  readonly memoryMs: number;
}

/** What others cause counts half after this time without news: they may have gone. */
const usualHalfLifeMs = 30_000;
/** An endpoint that had requests of others has them for so long, in milliseconds. */
const sharedForMs = 120_000;
/** Weight of one report in what others usually cause. */
const usualWeight = 0.2;
/** Service times after which a queue has forgotten its state. */
const memoryServices = 0.5;
/** The shortest memory, in milliseconds. */
const leastMemoryMs = 5;
/** The longest memory, in milliseconds. */
const mostMemoryMs = 1500;
/** What is left of a run that has lasted longer than expected, as a share of a run. */
const residualRatio = 0.4;
/** An abandoned request occupies its endpoint for at most this many service times. */
const longServices = 10;
/** The least such limit, in milliseconds. */
const leastLongMs = 2000;
/** A wait below this share of a service is none. */
const noWaitRatio = 0.05;

/** Starts with an empty queue. `counts`: what is reported is put together from what a server has counted. */
export function queueBelief(counts = false): QueueBelief {
  /** The queue as far as it is accounted for, at `atMs`. */
  let baseMs = 0;
  let atMs = -Infinity;
  let reportedAtMs = -Infinity;
  /** The queue as the last report had it. */
  let reportedMs = 0;
  let foreignAtMs = -Infinity;
  /** What others cause on the whole. */
  let othersMs = 0;
  let othersAtMs = -Infinity;
  let serviceMs = 0;
  let slots = 1;
  let batch: LoadReport["batch"];
  /** At the last report, and how that changed through us since. */
  let inFlight = 0;
  let ours = 0;
  /** Own requests that reports written just before their arrival do not count; the newest last. */
  const recent: { readonly atMs: number; readonly serviceMs: number }[] = [];
  /** When own requests were answered that reports written just before count all the same; the newest last. */
  const answered: number[] = [];
  /** When own requests were given up that may still run there, as long as reports count more than what is ours; the newest last. */
  const givenUp: number[] = [];

  /** What is still under way has not ended yet, however little of it was expected to be left. */
  const least = (): number => (ours > 0 && inFlight >= slots ? (residualRatio * serviceMs) / slots : 0);
  const memory = (): number =>
    serviceMs === 0
      ? mostMemoryMs
      : Math.min(mostMemoryMs, Math.max(leastMemoryMs, memoryServices * serviceMs));
  const base = (nowMs: number): number => (baseMs === 0 ? 0 : Math.max(0, baseMs - (nowMs - atMs)));
  const others = (nowMs: number): number =>
    othersMs === 0 ? 0 : othersMs * 0.5 ** (Math.max(0, nowMs - othersAtMs) / usualHalfLifeMs);
  const learnOthers = (causedMs: number, nowMs: number): void => {
    const before = others(nowMs);
    othersMs = before + usualWeight * (causedMs - before);
    othersAtMs = nowMs;
  };
  /** Runs that so many requests are; while slots are free each begins one. */
  const runsOf = (requests: number): number =>
    batch ? Math.max(requests / batch.requests, Math.min(requests, slots)) : requests;
  const add = (runMs: number, nowMs: number): number => {
    inFlight += 1;
    const before = base(nowMs);
    const partMs = batch && before > 0 ? runMs * batch.shareRatio : runMs;
    const addedMs = (partMs / slots) * Math.min(1, Math.max(0, runsOf(inFlight) - slots + 1));
    baseMs = before + addedMs;
    atMs = nowMs;
    return addedMs;
  };
  return {
    get reportedAtMs() {
      return reportedAtMs;
    },
    get underWay() {
      return ours;
    },
    get serviceMs() {
      return serviceMs;
    },
    shared: (nowMs) => nowMs - foreignAtMs < sharedForMs,
    sent(runMs, nowMs) {
      serviceMs = serviceMs === 0 ? runMs : serviceMs + 0.1 * (runMs - serviceMs);
      ours += 1;
      recent.push({ atMs: nowMs, serviceMs: runMs });
      if (recent.length > 64) recent.shift();
      return add(runMs, nowMs);
    },
    withdrawn(sentAtMs, addedMs, nowMs) {
      ours = Math.max(0, ours - 1);
      inFlight = Math.max(0, inFlight - 1);
      const at = recent.findLastIndex((one) => one.atMs === sentAtMs);
      if (at >= 0) recent.splice(at, 1);
      else if (sentAtMs < reportedAtMs) return;
      baseMs = Math.max(0, base(nowMs) - addedMs);
      atMs = nowMs;
    },
    ended(nowMs, wasAnswered) {
      ours = Math.max(0, ours - 1);
      inFlight = Math.max(0, inFlight - 1);
      const such = wasAnswered ? answered : givenUp;
      such.push(nowMs);
      if (such.length > 64) such.shift();
      if (ours > 0 || !wasAnswered) return;
      baseMs = Math.min(base(nowMs), Math.max(0, reportedMs - (nowMs - reportedAtMs)));
      atMs = nowMs;
    },
    reported(load, nowMs, delayMs) {
      while (recent[0] && recent[0].atMs < nowMs - delayMs) recent.shift();
      const counted = Math.max(0, ours - recent.length);
      const foreign = Math.max(0, load.inFlight - counted);
      // Answers overtake one another: the endpoint may have counted one of ours whose answer was read before this report. It did
      // not count the one with whose answer the report came. All are kept: the next report may be older than this one.
      let overtook = answered.at(-1) === nowMs ? -1 : 0;
      for (let at = answered.length - 1; (answered[at] ?? -Infinity) >= nowMs - delayMs; at--) overtook += 1;
      const longMs = Math.max(leastLongMs, longServices * serviceMs);
      while (givenUp[0] !== undefined && givenUp[0] < nowMs - longMs) givenUp.shift();
      if (load.inFlight > ours + overtook + givenUp.length) foreignAtMs = nowMs;
      if (givenUp.length > foreign) givenUp.splice(0, givenUp.length - foreign);
      learnOthers(load.inFlight === 0 ? 0 : (load.queueMs * foreign) / load.inFlight, nowMs);
      ({ batch } = load);
      // A shared run that is about to end looks like an empty slot to all who are in it; one that is empty shows in the processor.
      const empty = load.queueMs <= noWaitRatio * serviceMs && !(batch && load.cpuRatio === 1);
      const runs = batch ? Math.ceil(load.inFlight / batch.requests) : load.inFlight;
      if (empty) slots = Math.max(slots, runs + (counts ? 0 : 1));
      else if (load.inFlight < slots) slots = Math.max(1, load.inFlight);
      baseMs = load.queueMs;
      reportedMs = load.queueMs;
      atMs = nowMs;
      reportedAtMs = nowMs;
      inFlight = load.inFlight;
      for (const one of recent) add(one.serviceMs, nowMs);
    },
    offered(queueMs, nowMs) {
      learnOthers(queueMs, nowMs);
    },
    waitMs(nowMs) {
      const ownMs = Math.max(least(), base(nowMs));
      const usualMs = others(nowMs);
      return usualMs === 0 ? ownMs : ownMs + usualMs * (1 - Math.exp(-(nowMs - reportedAtMs) / memory()));
    },
    outlook: (nowMs) => ({
      emptyAtMs: baseMs === 0 ? -Infinity : baseMs + atMs,
      leastMs: least(),
      othersMs: others(nowMs),
      reportedAtMs,
      memoryMs: memory(),
    }),
  };
}
