import type { LoadReport } from "../../wire/endpoint/index.ts";

/**
 * How long a new request would wait at an endpoint, between two of its reports.
 *
 * A report is exact when it is written and wrong a moment later. To let it fade into the usual value is the obvious answer, and a poor one:
 * a queue of a hundred milliseconds without new work is gone after a hundred milliseconds, and what this endpoint sends meanwhile waits
 * behind what it sent before. So the queue is modelled as a fluid. It drains by a millisecond each millisecond. Own requests add their
 * expected run time. The part that other clients cause returns as time passes: at each report the requests that are not ours show how large
 * it is.
 *
 * An endpoint that runs several requests at once has an empty queue until its last slot is taken. From then on each request adds its run;
 * with one slot the first does. Reports of requests in flight without a wait show the number of slots: one more than those, or as many if a
 * server only counts and does not say whose requests they are.
 *
 * Invariant: right after a report the belief is the report plus what was sent since it was written.
 */
export interface QueueBelief {
  /** Records a request that was sent, with its expected run time. Returns the milliseconds that it added to the queue. */
  sent(serviceMs: number, nowMs: number): number;
  /**
   * Withdraws a request sent at `sentAtMs` that added `addedMs`: the endpoint never received it, or dropped it when it closed the
   * connection. Has no effect after a later report.
   */
  withdrawn(sentAtMs: number, addedMs: number, nowMs: number): void;
  /** Records the end of one of our requests; after an answer nothing of it remains there. */
  ended(nowMs: number, answered: boolean): void;
  /**
   * Records a load report from a message that was under way for `delayMs`. A report that came with an answer does not count the answered
   * request, whose end is recorded at the same instant, before.
   */
  reported(load: LoadReport, nowMs: number, delayMs: number): void;
  /** Records the length of its queue without its origin. */
  offered(queueMs: number, nowMs: number): void;
  waitMs(nowMs: number): number;
  /** By how much a request with this run time lengthens the queue while no slot is free. */
  occupiedMs(runMs: number): number;
  /** The figures from which the wait at any instant until the next event follows. */
  outlook(nowMs: number): QueueOutlook;
  /** Whether other clients sent requests there in the last minutes. Then the belief goes wrong without requests of ours. */
  shared(nowMs: number): boolean;
  /** Time of the last load report. */
  readonly reportedAtMs: number;
  /** Requests of ours under way. */
  readonly underWay: number;
  /** Usual run time of our requests there; 0 before the first. */
  readonly serviceMs: number;
}

/** A queue without further events; see `waitMs` for the wait at an instant. */
export interface QueueOutlook {
  /** When the known work will be done, and the least remaining work while something is under way. */
  readonly emptyAtMs: number;
  readonly leastMs: number;
  /** Usual wait that other clients cause. It returns within about `memoryMs` after the last report. */
  readonly othersMs: number;
  readonly reportedAtMs: number;
  readonly memoryMs: number;
}

/** The usual wait caused by others halves after this time without a report: they may have gone. */
const usualHalfLifeMs = 30_000;
/** How long an endpoint counts as shared after a request of another client, in milliseconds. */
const sharedForMs = 120_000;
/** Weight of one report in the usual wait caused by others. */
const usualWeight = 0.2;
/** Service times after which a queue has forgotten its state. */
const memoryServices = 0.5;
/** The shortest memory, in milliseconds. */
const leastMemoryMs = 5;
/** The longest memory, in milliseconds. */
const mostMemoryMs = 1500;
/** Remaining share of a run that has lasted longer than expected. */
const residualRatio = 0.4;
/** An abandoned request occupies its endpoint for at most this many service times. */
const longServices = 10;
/** The least such limit, in milliseconds. */
const leastLongMs = 2000;
/** A wait below this share of a service is none. */
const noWaitRatio = 0.05;

/** Starts with an empty queue. `counts`: reports are computed from the counters of a server. */
export function queueBelief(counts = false): QueueBelief {
  /** The queue as far as it is accounted for, at `atMs`. */
  let baseMs = 0;
  let atMs = -Infinity;
  let reportedAtMs = -Infinity;
  /** The queue as of the last report. */
  let reportedMs = 0;
  let foreignAtMs = -Infinity;
  /** The usual wait caused by others. */
  let othersMs = 0;
  let othersAtMs = -Infinity;
  let serviceMs = 0;
  let slots = 1;
  let batch: LoadReport["batch"];
  /** Requests in flight at the last report, with our changes since. */
  let inFlight = 0;
  let ours = 0;
  /** Own requests too recent for the last report to count, oldest first. */
  const recent: { readonly atMs: number; readonly serviceMs: number }[] = [];
  /** When own requests were answered that the last report may still count, oldest first. */
  const answered: number[] = [];
  /** When own requests were given up that may still run there, while reports count more than ours; oldest first. */
  const givenUp: number[] = [];

  /** Work under way has not ended, even if little of it was expected to remain. */
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
  /** Runs that this many requests form; while slots are free each begins its own. */
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
      // Answers overtake one another: the endpoint may have counted a request of ours whose answer was read before this report. It did not
      // count the request with whose answer the report came. All times are kept, since the next report may be older than this one.
      let overtook = answered.at(-1) === nowMs ? -1 : 0;
      for (let at = answered.length - 1; (answered[at] ?? -Infinity) >= nowMs - delayMs; at--) overtook += 1;
      const longMs = Math.max(leastLongMs, longServices * serviceMs);
      while (givenUp[0] !== undefined && givenUp[0] < nowMs - longMs) givenUp.shift();
      if (load.inFlight > ours + overtook + givenUp.length) foreignAtMs = nowMs;
      if (givenUp.length > foreign) givenUp.splice(0, givenUp.length - foreign);
      learnOthers(load.inFlight === 0 ? 0 : (load.queueMs * foreign) / load.inFlight, nowMs);
      ({ batch } = load);
      // A shared run that is about to end looks like an empty slot to all of its requests. A really empty slot shows in the processor load.
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
    occupiedMs: (runMs) => (batch ? runMs * batch.shareRatio : runMs) / slots,
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
