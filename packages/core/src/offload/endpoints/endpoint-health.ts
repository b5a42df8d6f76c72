import type { LongshoreError, Random, Reason } from "../../words/base/index.ts";

/** How failures of an endpoint are taken. */
export interface HealthOptions {
  /** Pause after the first failure in a row, doubled with each further one, in milliseconds; default 250. */
  readonly firstPauseMs?: number;
  /** The longest pause; default 30,000. */
  readonly longestPauseMs?: number;
  /** Charged to an endpoint that always fails, in milliseconds; default 400. Less in proportion. */
  readonly penaltyMs?: number;
  /** Half-life of the memory of failures, in milliseconds; default 10,000. */
  readonly halfLifeMs?: number;
}

/** Whether an endpoint answers, as this endpoint experienced it. */
export interface EndpointHealth {
  /** It answered a request. */
  succeeded(nowMs: number): void;
  /**
   * Records an answer to a poll: the endpoint is reachable. If a run failed last, that does not show that it can run anything. Unanswered
   * polls are no longer charged: if the link was silent, the belief about the link covers that.
   */
  reached(): void;
  /**
   * Records a failure. `isPoll` says that only a poll was not answered. A failure of a request that began (`beganMs`) before the last
   * failure, and that is consistent with it, is not a new one: when an endpoint goes silent, only the first failure of all that is under
   * way counts.
   */
  failed(error: LongshoreError, nowMs: number, isPoll?: boolean, beganMs?: number): void;
  /**
   * Records a run that was given up long after its expected time. The first counts as a slow run, unless `surely` is set. The second
   * without an answer in between counts as a failure.
   */
  abandoned(error: LongshoreError, nowMs: number, surely?: boolean): void;
  /** Why nothing should be sent now; undefined when it may be tried. */
  unavailable(nowMs: number): string | undefined;
  /** Charged in plans for recent failures, so that an endpoint that refuses fast does not look fast. */
  penaltyMs(nowMs: number): number;
  /** Instant from which it may be tried again; -Infinity when it may be now. */
  readonly pausedUntilMs: number;
  /**
   * Whether the endpoint is trusted and paused for failures only. A request without other endpoints may be sent there before the pause
   * ends: the pause is a guess of this side, and only a request can disprove it. A server that refused for load stated its own pause, which
   * holds for all requests.
   */
  mayBeAsked(nowMs: number): boolean;
  /** It failed, and has answered no request since. */
  readonly failing: boolean;
  /** Whether the endpoint is known to be unreachable, or to refuse this caller. */
  readonly absent: boolean;
  /** Time of its last failure; -Infinity for never. */
  readonly downAtMs: number;
  /** Distrusts its answers: nothing is sent there, whatever its health, until it is trusted again. */
  distrust(why: string): void;
  trust(): void;
  /** Why its answers are distrusted; undefined if they are trusted. */
  readonly distrusted: string | undefined;
}

/** All requests there would fail, too. */
const shut: readonly Reason[] = ["unreachable", "shutting-down", "unauthenticated"];
const down: ReadonlySet<Reason> = new Set<Reason>([
  ...shut,
  "starting",
  "no-answer",
  "bad-reply",
  "runtime-crashed",
  "run-failed",
  "run-deadline",
  "internal",
]);
/** Reasons with which an overloaded endpoint refuses requests. */
export const overloaded: ReadonlySet<Reason> = new Set<Reason>([
  "queue-full",
  "rejected",
  "evicted",
  "memory-limit",
  "disk-full",
  "disk-failed",
]);

/** Whether the endpoint was only overloaded, and may be less so by now. */
export function hadTooMuch({ reason }: LongshoreError): boolean {
  return reason === "busier" || overloaded.has(reason);
}

/** Starts with an endpoint that has not failed. */
export function endpointHealth(random: Random, options: HealthOptions = {}): EndpointHealth {
  return new FailureRecord(random, options);
}

/**
 * Consecutive failures pause an endpoint. The pause doubles, with jitter so that clients do not return together. After the pause the next
 * plan may try the endpoint under its guard. A refusal for load pauses it for the time that it states.
 */
class FailureRecord implements EndpointHealth {
  absent = false;
  downAtMs = -Infinity;
  distrusted: string | undefined;
  readonly #random: Random;
  readonly #options: HealthOptions;
  #row = 0;
  /** End of the pause for failures, and end of the pause that it requested for load. */
  #failedUntilMs = -Infinity;
  #refusedUntilMs = -Infinity;
  #why = "";
  /** Whether the last failure was a failed run. */
  #ranBadly = false;
  /** The charge between 0 and 1, and the part of it for runs, as of the last failure or answer. */
  #failures = 0;
  #ofRuns = 0;
  #noted = 0;
  #abandoned = 0;

  constructor(random: Random, options: HealthOptions) {
    this.#random = random;
    this.#options = options;
  }

  get pausedUntilMs(): number {
    return Math.max(this.#failedUntilMs, this.#refusedUntilMs);
  }

  mayBeAsked(nowMs: number): boolean {
    return (
      this.distrusted === undefined &&
      this.#row > 0 &&
      nowMs < this.#failedUntilMs &&
      nowMs >= this.#refusedUntilMs
    );
  }

  get failing(): boolean {
    return this.#row > 0;
  }

  distrust(why: string): void {
    this.distrusted = why;
  }

  trust(): void {
    this.distrusted = undefined;
  }

  succeeded(nowMs: number): void {
    this.#abandoned = 0;
    if (this.#row === 0 && this.#failures === 0) return;
    this.#reopen();
    this.#ofRuns = this.#decayed(this.#ofRuns, nowMs) * 0.8;
    if (this.#ofRuns < 0.01) this.#ofRuns = 0;
    this.#failures = this.#ofRuns;
    this.#noted = nowMs;
  }

  reached(): void {
    this.#failures = this.#ofRuns;
    if (!this.absent && (this.#ranBadly || this.#row === 0)) return;
    this.#reopen();
  }

  failed(error: LongshoreError, nowMs: number, isPoll = false, beganMs = Infinity): void {
    const { firstPauseMs = 250, longestPauseMs = 30_000 } = this.#options;
    const { reason, retryAfterMs } = error;
    if (overloaded.has(reason)) {
      const pauseMs = Math.min(longestPauseMs, retryAfterMs ?? 100);
      this.#refusedUntilMs = Math.max(this.#refusedUntilMs, nowMs + pauseMs);
      this.#why = `it refused for load (${reason})`;
      return;
    }
    if (!down.has(reason)) return;
    this.#ranBadly = !isPoll;
    const isKnown = reason === "no-answer" || (this.absent && shut.includes(reason));
    if (this.#row > 0 && beganMs <= this.downAtMs && isKnown) return;
    this.#row++;
    this.downAtMs = nowMs;
    this.absent = shut.includes(reason);
    const pauseMs = Math.min(longestPauseMs, retryAfterMs ?? firstPauseMs * 2 ** Math.min(20, this.#row - 1));
    // A load that it reported does not hold after a failure: a restarted server has none.
    this.#refusedUntilMs = -Infinity;
    this.#failedUntilMs =
      nowMs + (retryAfterMs === undefined ? pauseMs * (0.75 + 0.5 * this.#random.next()) : pauseMs);
    this.#why = `it failed ${this.#row === 1 ? "just now" : `${this.#row} times in a row`} (${reason})`;
    this.#failures = worse(this.#decayed(this.#failures, nowMs));
    const ofRuns = this.#decayed(this.#ofRuns, nowMs);
    this.#ofRuns = isPoll ? ofRuns : worse(ofRuns);
    this.#noted = nowMs;
  }

  abandoned(error: LongshoreError, nowMs: number, surely = false): void {
    this.#abandoned++;
    if (this.#abandoned < 2 && !surely) return;
    this.failed(error, nowMs);
  }

  unavailable(nowMs: number): string | undefined {
    return this.distrusted ?? (nowMs < this.pausedUntilMs ? this.#why : undefined);
  }

  penaltyMs(nowMs: number): number {
    const { penaltyMs = 400 } = this.#options;
    return penaltyMs * this.#decayed(this.#failures, nowMs);
  }

  #decayed(share: number, nowMs: number): number {
    const { halfLifeMs = 10_000 } = this.#options;
    return share === 0 ? 0 : share * 0.5 ** (Math.max(0, nowMs - this.#noted) / halfLifeMs);
  }

  #reopen(): void {
    this.#row = 0;
    this.#ranBadly = false;
    this.absent = false;
    this.#failedUntilMs = -Infinity;
    this.#refusedUntilMs = -Infinity;
  }
}

/** The charge after one more failure. */
function worse(share: number): number {
  return share + (1 - share) * 0.5;
}
