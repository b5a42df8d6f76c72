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
   * It answered a question about itself: it is there, and answers questions. Whether it still runs anything is another matter,
   * where it was a run that failed last. For questions that it left unanswered nothing is charged any more: where its link was
   * silent, that knows itself when it is back.
   */
  reached(): void;
  /**
   * `asked`: it was only a question about itself that it did not answer. What began (`beganMs`) before the last failure and breaks with
   * what is known is no further one: of all that is under way when an endpoint falls silent or goes only the first counts.
   */
  failed(error: LongshoreError, nowMs: number, asked?: boolean, beganMs?: number): void;
  /**
   * Nobody waited for a run any longer, far beyond its time. Once that is a slow run, unless it is `surely` more; twice, without
   * an answer between, it is a failure.
   */
  abandoned(error: LongshoreError, nowMs: number, surely?: boolean): void;
  /** Why nothing should be sent now; undefined when it may be tried. */
  unavailable(nowMs: number): string | undefined;
  /** Charged in plans for recent failures, so that an endpoint that refuses fast does not look fast. */
  penaltyMs(nowMs: number): number;
  /** Instant from which it may be tried again; -Infinity when it may be now. */
  readonly pausedUntilMs: number;
  /**
   * It is paused for failures alone, and believed. A request that nothing else is left for may be sent there before the pause is
   * over: the pause is this side's guess, and only a request can show that it is wrong. A server that refused for load said itself
   * how long to stay away, which holds for all requests.
   */
  mayBeAsked(nowMs: number): boolean;
  /** It failed, and has answered no request since. */
  readonly failing: boolean;
  /** As far as is known nobody is there, or nobody who lets this endpoint in. */
  readonly absent: boolean;
  /** When it last failed; -Infinity for never. */
  readonly downAtMs: number;
  /** Its answers are not believed: nothing is sent there, however well it is, until it is trusted again. */
  distrust(why: string): void;
  trust(): void;
  /** Why its answers are not believed; undefined when they are. */
  readonly distrusted: string | undefined;
}

/** Nothing else is to be had there either. */
const shut: readonly Reason[] = ["unreachable", "shutting-down", "unauthenticated"];
const down: ReadonlySet<Reason> = new Set<Reason>([
  ...shut,
  "no-answer",
  "bad-reply",
  "runtime-crashed",
  "run-failed",
  "run-deadline",
  "internal",
]);
/** What an endpoint refuses for that has enough to do. */
export const overloaded: ReadonlySet<Reason> = new Set<Reason>([
  "queue-full",
  "rejected",
  "evicted",
  "memory-limit",
  "disk-full",
  "disk-failed",
]);

/** Whether it had only too much to do, and may have less by now. */
export function hadTooMuch({ reason }: LongshoreError): boolean {
  return reason === "busier" || overloaded.has(reason);
}

/**
 * Consecutive failures pause an endpoint for a time that doubles, with jitter so that clients do not return together; after
 * the pause the next plan may try it, under its guard. A refusal for load pauses it for as long as it says.
 */
export function endpointHealth(random: Random, options: HealthOptions = {}): EndpointHealth {
  const { firstPauseMs = 250, longestPauseMs = 30_000, penaltyMs = 400, halfLifeMs = 10_000 } = options;
  let row = 0;
  /** The pause for failures, and the one that it asked for when it refused for load. */
  let failedUntilMs = -Infinity;
  let refusedUntilMs = -Infinity;
  let why = "";
  let absent = false;
  /** The last failure was of a run. */
  let ranBadly = false;
  /** What is charged, between 0 and 1, and what of it for runs, as of the last failure or answer. */
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
  const failed = (error: LongshoreError, nowMs: number, asked = false, beganMs = Infinity): void => {
    if (overloaded.has(error.reason)) {
      const pauseMs = Math.min(longestPauseMs, error.retryAfterMs ?? 100);
      refusedUntilMs = Math.max(refusedUntilMs, nowMs + pauseMs);
      why = `it refused for load (${error.reason})`;
      return;
    }
    if (!down.has(error.reason)) return;
    ranBadly = !asked;
    if (row > 0 && beganMs <= downAtMs && isKnown(error.reason)) return;
    row++;
    downAtMs = nowMs;
    absent = shut.includes(error.reason);
    const pauseMs = Math.min(longestPauseMs, error.retryAfterMs ?? firstPauseMs * 2 ** Math.min(20, row - 1));
    // What it said of its load does not hold for what comes after a failure: a server that starts again has none.
    refusedUntilMs = -Infinity;
    failedUntilMs =
      nowMs + (error.retryAfterMs === undefined ? pauseMs * (0.75 + 0.5 * random.next()) : pauseMs);
    why = `it failed ${row === 1 ? "just now" : `${row} times in a row`} (${error.reason})`;
    failures = worse(decayed(failures, nowMs));
    ofRuns = asked ? decayed(ofRuns, nowMs) : worse(decayed(ofRuns, nowMs));
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
