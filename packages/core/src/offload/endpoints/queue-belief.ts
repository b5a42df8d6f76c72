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
  return new FluidQueue(counts);
}

class FluidQueue implements QueueBelief {
  reportedAtMs = -Infinity;
  underWay = 0;
  serviceMs = 0;
  readonly #counts: boolean;
  /** The queue as far as it is accounted for, at `#atMs`. */
  #baseMs = 0;
  #atMs = -Infinity;
  /** The queue as of the last report. */
  #reportedMs = 0;
  #foreignAtMs = -Infinity;
  /** The usual wait caused by others. */
  #othersMs = 0;
  #othersAtMs = -Infinity;
  #slots = 1;
  #batch: LoadReport["batch"];
  /** Requests in flight at the last report, with our changes since. */
  #inFlight = 0;
  /** Own requests too recent for the last report to count, oldest first. */
  readonly #recent: { readonly atMs: number; readonly serviceMs: number }[] = [];
  /** When own requests were answered that the last report may still count, oldest first. */
  readonly #answered: number[] = [];
  /** When own requests were given up that may still run there, while reports count more than ours; oldest first. */
  readonly #givenUp: number[] = [];

  constructor(counts: boolean) {
    this.#counts = counts;
  }

  shared(nowMs: number): boolean {
    return nowMs - this.#foreignAtMs < sharedForMs;
  }

  sent(runMs: number, nowMs: number): number {
    const before = this.serviceMs;
    this.serviceMs = before === 0 ? runMs : before + 0.1 * (runMs - before);
    this.underWay += 1;
    this.#recent.push({ atMs: nowMs, serviceMs: runMs });
    if (this.#recent.length > 64) this.#recent.shift();
    return this.#add(runMs, nowMs);
  }

  withdrawn(sentAtMs: number, addedMs: number, nowMs: number): void {
    this.underWay = Math.max(0, this.underWay - 1);
    this.#inFlight = Math.max(0, this.#inFlight - 1);
    const at = this.#recent.findLastIndex((one) => one.atMs === sentAtMs);
    if (at >= 0) this.#recent.splice(at, 1);
    else if (sentAtMs < this.reportedAtMs) return;
    this.#baseMs = Math.max(0, this.#base(nowMs) - addedMs);
    this.#atMs = nowMs;
  }

  ended(nowMs: number, answered: boolean): void {
    this.underWay = Math.max(0, this.underWay - 1);
    this.#inFlight = Math.max(0, this.#inFlight - 1);
    const such = answered ? this.#answered : this.#givenUp;
    such.push(nowMs);
    if (such.length > 64) such.shift();
    if (this.underWay > 0 || !answered) return;
    const restMs = Math.max(0, this.#reportedMs - (nowMs - this.reportedAtMs));
    this.#baseMs = Math.min(this.#base(nowMs), restMs);
    this.#atMs = nowMs;
  }

  reported(load: LoadReport, nowMs: number, delayMs: number): void {
    const recent = this.#recent;
    const answered = this.#answered;
    const givenUp = this.#givenUp;
    while (recent[0] && recent[0].atMs < nowMs - delayMs) recent.shift();
    const counted = Math.max(0, this.underWay - recent.length);
    const foreign = Math.max(0, load.inFlight - counted);
    // Answers overtake one another: the endpoint may have counted a request of ours whose answer was read before this report. It did not
    // count the request with whose answer the report came. All times are kept, since the next report may be older than this one.
    let overtook = answered.at(-1) === nowMs ? -1 : 0;
    for (let at = answered.length - 1; (answered[at] ?? -Infinity) >= nowMs - delayMs; at--) overtook += 1;
    const longMs = Math.max(leastLongMs, longServices * this.serviceMs);
    while (givenUp[0] !== undefined && givenUp[0] < nowMs - longMs) givenUp.shift();
    if (load.inFlight > this.underWay + overtook + givenUp.length) this.#foreignAtMs = nowMs;
    if (givenUp.length > foreign) givenUp.splice(0, givenUp.length - foreign);
    this.#learnOthers(load.inFlight === 0 ? 0 : (load.queueMs * foreign) / load.inFlight, nowMs);
    const { batch } = load;
    this.#batch = batch;
    // A shared run that is about to end looks like an empty slot to all of its requests. A really empty slot shows in the processor load.
    const empty = load.queueMs <= noWaitRatio * this.serviceMs && !(batch && load.cpuRatio === 1);
    const runs = batch ? Math.ceil(load.inFlight / batch.requests) : load.inFlight;
    if (empty) this.#slots = Math.max(this.#slots, runs + (this.#counts ? 0 : 1));
    else if (load.inFlight < this.#slots) this.#slots = Math.max(1, load.inFlight);
    this.#baseMs = load.queueMs;
    this.#reportedMs = load.queueMs;
    this.#atMs = nowMs;
    this.reportedAtMs = nowMs;
    this.#inFlight = load.inFlight;
    for (const one of recent) this.#add(one.serviceMs, nowMs);
  }

  offered(queueMs: number, nowMs: number): void {
    this.#learnOthers(queueMs, nowMs);
  }

  occupiedMs(runMs: number): number {
    return (this.#batch ? runMs * this.#batch.shareRatio : runMs) / this.#slots;
  }

  waitMs(nowMs: number): number {
    const ownMs = Math.max(this.#least(), this.#base(nowMs));
    const usualMs = this.#others(nowMs);
    if (usualMs === 0) return ownMs;
    return ownMs + usualMs * (1 - Math.exp(-(nowMs - this.reportedAtMs) / this.#memory()));
  }

  outlook(nowMs: number): QueueOutlook {
    return {
      emptyAtMs: this.#baseMs === 0 ? -Infinity : this.#baseMs + this.#atMs,
      leastMs: this.#least(),
      othersMs: this.#others(nowMs),
      reportedAtMs: this.reportedAtMs,
      memoryMs: this.#memory(),
    };
  }

  /** Work under way has not ended, even if little of it was expected to remain. */
  #least(): number {
    const isFull = this.underWay > 0 && this.#inFlight >= this.#slots;
    return isFull ? (residualRatio * this.serviceMs) / this.#slots : 0;
  }

  #memory(): number {
    if (this.serviceMs === 0) return mostMemoryMs;
    return Math.min(mostMemoryMs, Math.max(leastMemoryMs, memoryServices * this.serviceMs));
  }

  #base(nowMs: number): number {
    return this.#baseMs === 0 ? 0 : Math.max(0, this.#baseMs - (nowMs - this.#atMs));
  }

  #others(nowMs: number): number {
    if (this.#othersMs === 0) return 0;
    return this.#othersMs * 0.5 ** (Math.max(0, nowMs - this.#othersAtMs) / usualHalfLifeMs);
  }

  #learnOthers(causedMs: number, nowMs: number): void {
    const before = this.#others(nowMs);
    this.#othersMs = before + usualWeight * (causedMs - before);
    this.#othersAtMs = nowMs;
  }

  /** Runs that this many requests form; while slots are free each begins its own. */
  #runsOf(requests: number): number {
    const batch = this.#batch;
    return batch ? Math.max(requests / batch.requests, Math.min(requests, this.#slots)) : requests;
  }

  #add(runMs: number, nowMs: number): number {
    this.#inFlight += 1;
    const before = this.#base(nowMs);
    const partMs = this.#batch && before > 0 ? runMs * this.#batch.shareRatio : runMs;
    const begun = Math.min(1, Math.max(0, this.#runsOf(this.#inFlight) - this.#slots + 1));
    const addedMs = (partMs / this.#slots) * begun;
    this.#baseMs = before + addedMs;
    this.#atMs = nowMs;
    return addedMs;
  }
}
