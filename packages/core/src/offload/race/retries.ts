import {
  abortError,
  type Call,
  type Clock,
  type EndpointId,
  type LongshoreError,
  type Random,
  whenAborted,
} from "../../words/base/index.ts";
import type { Reason } from "../../words/base/index.ts";
import type { RetryOptions } from "./parts.ts";

/** Failures of the network or of a server's process: another try may not meet them. An error that a run reports would come again. */
const passing: ReadonlySet<Reason> = new Set<Reason>([
  "unreachable",
  "no-answer",
  "bad-reply",
  "checksum-mismatch",
  "starting",
  "shutting-down",
]);

/** Whether an error is of the network or of a server's process, and not about the request. */
export function isPassing({ reason }: LongshoreError): boolean {
  return passing.has(reason);
}

/** No pause is longer than this share of the time that is left: so some tries come late in it. */
const mostPauseRatio = 1 / 3;
/** Pauses are shortened by up to this share, so that requests which failed together do not come again together. */
const jitterRatio = 0.25;
/** The pause before a silent endpoint is sent a request again, as a multiple of that after a failure. */
const silentPauses = 4;
/** Endpoints whose pauses end within this share of a pause belong to the same round. */
const roundRatio = 0.5;

/** An endpoint that answers wakes one waiting request per this many milliseconds on average, so that not all come at once. */
const wakeEveryMs = 4;
/** The most times that a request is woken. At an endpoint that fails again and again it would use up its rounds. */
const mostWoken = 5;

/** A round of retries that begins. */
export interface Round {
  /** Endpoints that failed the request and may not be tried again yet. */
  readonly without: ReadonlySet<EndpointId>;
  /** It was taken out of the budget of retries. */
  readonly paid: boolean;
}

/** Requests of one offloader that wait for a retry. */
export class RetryQueue {
  readonly options: Required<RetryOptions>;
  readonly #wakes = new Set<(endpoint: EndpointId) => void>();

  constructor({
    mostRounds = 10,
    firstPauseMs = 50,
    withoutDeadlineMs = 1000,
    mostWaiting = 256,
  }: RetryOptions = {}) {
    this.options = { mostRounds, firstPauseMs, withoutDeadlineMs, mostWaiting };
  }

  get count(): number {
    return this.#wakes.size;
  }

  /** Calls `wake` with each endpoint that answers again, until the returned function is called. */
  add(wake: (endpoint: EndpointId) => void): () => void {
    this.#wakes.add(wake);
    return () => void this.#wakes.delete(wake);
  }

  /** An endpoint has answered a request: those that it failed may be sent there again. */
  answered(endpoint: EndpointId): void {
    for (const wake of this.#wakes) wake(endpoint);
  }
}

/**
 * Rounds of retries of one request. In a round each endpoint with a passing failure may be tried once more. Before a round there is a
 * pause, which doubles. So the number of rounds grows only with the logarithm of the time, and a server that works for the last half of the
 * deadline is tried in that half.
 */
export class Retries {
  readonly #options: Required<RetryOptions>;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #call: Call;
  readonly #waiting: RetryQueue;
  readonly #endMs: number;
  readonly #dueMs = new Map<EndpointId, number>();
  /** Endpoints that respond to other requests. They get this one once more, in case their answer is lost. */
  #answerLost: Set<EndpointId> | undefined;
  /** Endpoints that got it once more beyond the budget. */
  #unpaid: Set<EndpointId> | undefined;
  #rounds = 0;
  /** The next round comes sooner, because an endpoint answers; how often that was so. */
  #sooner = false;
  #woken = 0;

  constructor(parts: { readonly clock: Clock; readonly random: Random }, call: Call, waiting: RetryQueue) {
    this.#options = waiting.options;
    this.#clock = parts.clock;
    this.#random = parts.random;
    this.#call = call;
    this.#waiting = waiting;
    this.#endMs = Math.min(
      call.deadlineMs,
      parts.clock.nowMs() + (call.deadlineMs < Infinity ? Infinity : waiting.options.withoutDeadlineMs),
    );
  }

  /** Rounds that have begun. */
  get rounds(): number {
    return this.#rounds;
  }

  /** An endpoint failed the request. */
  failed(endpoint: EndpointId, { reason, retryAfterMs = 0 }: LongshoreError): void {
    if (!passing.has(reason)) return;
    const nowMs = this.#clock.nowMs();
    this.#dueMs.set(endpoint, nowMs + Math.max(retryAfterMs, this.#pauseMs(nowMs)));
  }

  /**
   * Records that an endpoint is silent while the request is under way there: it may get the request once more in a round. `heard`: it has
   * acknowledged the request or answered others since, so only its answer may be lost. Then it gets the request once more only once.
   */
  silent(endpoint: EndpointId, heard: boolean): void {
    // Without a deadline nothing is lost by waiting for the first try.
    if (this.#call.deadlineMs === Infinity || this.#dueMs.has(endpoint)) return;
    if (heard && this.#answerLost?.has(endpoint)) return;
    if (heard) (this.#answerLost ??= new Set()).add(endpoint);
    const nowMs = this.#clock.nowMs();
    // It may only be slow, and each further try makes it slower: so a good part of the time is left to the tries before.
    const leastMs = mostPauseRatio * (this.#endMs - nowMs);
    this.#dueMs.set(endpoint, nowMs + Math.max(leastMs, this.#pauseMs(nowMs, silentPauses)));
  }

  /** Begins the next round if its time has come. Returns the endpoints that may be tried again. */
  begin(): ReadonlySet<EndpointId> {
    const nowMs = this.#clock.nowMs();
    const again = new Set<EndpointId>();
    if (this.#rounds >= this.#options.mostRounds || this.#nextMs() > nowMs) return again;
    const untilMs = nowMs + roundRatio * this.#pauseMs(nowMs);
    for (const [endpoint, dueMs] of this.#dueMs) {
      if (dueMs > untilMs) continue;
      this.#dueMs.delete(endpoint);
      again.add(endpoint);
    }
    if (this.#sooner) this.#sooner = false;
    else this.#rounds++;
    return again;
  }

  /**
   * Begins a round at a silent endpoint alone, beyond the budget, if its time has come. Returns whether it did; once for each endpoint, so
   * that a request is at most doubled.
   */
  beginUnpaid(endpoint: EndpointId): boolean {
    const dueMs = this.#dueMs.get(endpoint) ?? Infinity;
    if (this.#rounds >= this.#options.mostRounds || dueMs > this.#clock.nowMs()) return false;
    if (this.#unpaid?.has(endpoint)) return false;
    (this.#unpaid ??= new Set()).add(endpoint);
    this.#dueMs.delete(endpoint);
    this.#rounds++;
    return true;
  }

  /** Endpoints of a round that were not needed. They may be tried in the next one. */
  keep(endpoints: readonly EndpointId[]): void {
    for (const endpoint of endpoints) this.#dueMs.set(endpoint, this.#clock.nowMs());
  }

  /**
   * Waits until the next round may begin. Returns false if there is none in time, or if too many requests wait already. Throws the error of
   * an aborted call.
   */
  async wait(): Promise<boolean> {
    const atMs = this.#nextMs();
    if (this.#rounds >= this.#options.mostRounds || atMs >= this.#endMs) return false;
    if (this.#waiting.count >= this.#options.mostWaiting) return false;
    await this.#due();
    return true;
  }

  /** Resolves when the next round may begin: at its time, or soon after one of its endpoints has answered another request. */
  #due(): Promise<void> {
    const { abort } = this.#call;
    return new Promise((resolve, reject) => {
      const nowMs = (): number => this.#clock.nowMs();
      const armed = (): Disposable =>
        this.#clock.timer(Math.max(0, this.#nextMs() - nowMs()), () => end(resolve));
      let timer: Disposable | undefined;
      const asleep = this.#waiting.add((endpoint) => {
        const dueMs = this.#dueMs.get(endpoint);
        if (dueMs === undefined || this.#woken >= mostWoken) return;
        const soonMs = nowMs() + this.#random.next() * wakeEveryMs * this.#waiting.count;
        if (soonMs >= dueMs) return;
        this.#dueMs.set(endpoint, soonMs);
        this.#woken++;
        this.#sooner = true;
        timer?.[Symbol.dispose]();
        timer = armed();
      });
      const stopListening = whenAborted(abort, () => end(() => reject(abortError(abort, "plan"))));
      const end = (settle: () => void): void => {
        timer?.[Symbol.dispose]();
        stopListening();
        asleep();
        settle();
      };
      if (abort.aborted) end(() => reject(abortError(abort, "plan")));
      else timer = armed();
    });
  }

  /** Whether the next round begins because an endpoint answers other requests. */
  get sooner(): boolean {
    return this.#sooner;
  }

  /** Postpones the round by another pause, because the budget is empty. */
  putOff(): void {
    const nowMs = this.#clock.nowMs();
    const pauseMs = this.#pauseMs(nowMs);
    for (const [endpoint, dueMs] of this.#dueMs) this.#dueMs.set(endpoint, Math.max(dueMs, nowMs + pauseMs));
  }

  #nextMs(): number {
    return Math.min(Infinity, ...this.#dueMs.values());
  }

  #pauseMs(nowMs: number, times = 1): number {
    const pauseMs = Math.min(
      times * this.#options.firstPauseMs * 2 ** this.#rounds,
      Math.max(this.#options.firstPauseMs, mostPauseRatio * (this.#endMs - nowMs)),
    );
    return pauseMs * (1 - jitterRatio * this.#random.next());
  }
}
