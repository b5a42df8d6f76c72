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

/**
 * Consecutive failures pause an endpoint. The pause doubles, with jitter so that clients do not return together. After the pause the next
 * plan may try the endpoint under its guard. A refusal for load pauses it for the time that it states.
 */
export function endpointHealth(random: Random, options: HealthOptions = {}): EndpointHealth {
  const { firstPauseMs = 250, longestPauseMs = 30_000, penaltyMs = 400, halfLifeMs = 10_000 } = options;
  let row = 0;
  /** End of the pause for failures, and end of the pause that it requested for load. */
  let failedUntilMs = -Infinity;
  let refusedUntilMs = -Infinity;
  let why = "";
  let absent = false;
  /** Whether the last failure was a failed run. */
  let ranBadly = false;
  /** The charge between 0 and 1, and the part of it for runs, as of the last failure or answer. */
  let failures = 0;
  let ofRuns = 0;
  let noted = 0;
  let abandoned = 0;
  let downAtMs = -Infinity;
  let distrusted: string | undefined;
  const decayed = (share: number, nowMs: number): number =>
    share === 0 ? 0 : share * 0.5 ** (Math.max(0, nowMs - noted) / halfLifeMs);
  const worse = (share: number): number => share + (1 - share) * 0.5;
  const isKnown = (reason: Reason): boolean => reason === "no-answer" || (absent && shut.includes(reason));
  const failed = (error: LongshoreError, nowMs: number, isPoll = false, beganMs = Infinity): void => {
    if (overloaded.has(error.reason)) {
      const pauseMs = Math.min(longestPauseMs, error.retryAfterMs ?? 100);
      refusedUntilMs = Math.max(refusedUntilMs, nowMs + pauseMs);
      why = `it refused for load (${error.reason})`;
      return;
    }
    if (!down.has(error.reason)) return;
    ranBadly = !isPoll;
    if (row > 0 && beganMs <= downAtMs && isKnown(error.reason)) return;
    row++;
    downAtMs = nowMs;
    absent = shut.includes(error.reason);
    const pauseMs = Math.min(longestPauseMs, error.retryAfterMs ?? firstPauseMs * 2 ** Math.min(20, row - 1));
    // A load that it reported does not hold after a failure: a restarted server has none.
    refusedUntilMs = -Infinity;
    failedUntilMs =
      nowMs + (error.retryAfterMs === undefined ? pauseMs * (0.75 + 0.5 * random.next()) : pauseMs);
    why = `it failed ${row === 1 ? "just now" : `${row} times in a row`} (${error.reason})`;
    failures = worse(decayed(failures, nowMs));
    ofRuns = isPoll ? decayed(ofRuns, nowMs) : worse(decayed(ofRuns, nowMs));
    noted = nowMs;
  };
  const pausedUntilMs = (): number => Math.max(failedUntilMs, refusedUntilMs);
  const reopen = (): void => {
    row = 0;
    ranBadly = false;
    absent = false;
    failedUntilMs = -Infinity;
    refusedUntilMs = -Infinity;
  };
  return {
    get pausedUntilMs() {
      return pausedUntilMs();
    },
    mayBeAsked: (nowMs) =>
      distrusted === undefined && row > 0 && nowMs < failedUntilMs && nowMs >= refusedUntilMs,
    get failing() {
      return row > 0;
    },
    get absent() {
      return absent;
    },
    get downAtMs() {
      return downAtMs;
    },
    get distrusted() {
      return distrusted;
    },
    distrust(reason) {
      distrusted = reason;
    },
    trust() {
      distrusted = undefined;
    },
    succeeded(nowMs) {
      abandoned = 0;
      if (row === 0 && failures === 0) return;
      reopen();
      ofRuns = decayed(ofRuns, nowMs) * 0.8;
      if (ofRuns < 0.01) ofRuns = 0;
      failures = ofRuns;
      noted = nowMs;
    },
    reached() {
      failures = ofRuns;
      if (!absent && (ranBadly || row === 0)) return;
      reopen();
    },
    failed,
    abandoned(error, nowMs, surely = false) {
      abandoned++;
      if (abandoned < 2 && !surely) return;
      failed(error, nowMs);
    },
    unavailable: (nowMs) => distrusted ?? (nowMs < pausedUntilMs() ? why : undefined),
    penaltyMs: (nowMs) => penaltyMs * decayed(failures, nowMs),
  };
}
