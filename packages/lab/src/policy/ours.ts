import type { Bet, Estimate, HedgeBudgetOptions } from "@longshore/core";
import {
  arrivals,
  doubtOf,
  guardMoment,
  tries,
  tryQuestion,
  type TryStanding,
  weighTry,
} from "@longshore/core/internal";
import { honestSensor, type HonestSensorOptions } from "./honest-sensor.ts";
import { local } from "./choices.ts";
import type { ReplayPolicy, RequestFacts, Sight } from "./policy.ts";

/** Settings of our policy. One set serves every link. */
export interface OursOptions extends HonestSensorOptions {
  readonly budget?: HedgeBudgetOptions;
  /** A deadline of every request, in local runs; default: none. */
  readonly deadlineRatio?: number;
}

/** A probe is thought of a round trip and so long before the next request is due. */
const probeAheadMs = 60;
/** Doubt below which a probe is not worth its bytes. */
const worthDoubt = 0.01;

/**
 * The belief, guard and books of tries of core, used the way the offloader uses them, with honest sensors only.
 */
export function ours(options: OursOptions = {}): ReplayPolicy {
  const { deadlineRatio = Infinity } = options;
  const sensor = honestSensor(options);
  const books = tries(options.budget);
  const rhythm = arrivals();
  const bets = new Map<number, Bet>();
  let localMs = Infinity;
  let lastBytes: number | undefined;

  function standing(request: RequestFacts, sight: Sight, remoteMs: Estimate): TryStanding {
    const passedMs = sight.nowMs - request.arrivedMs;
    return {
      remoteMs,
      localMs: sight.localMs + sight.localWaitMs,
      waitMs: sight.localWaitMs,
      passedMs,
      leftMs: deadlineRatio * sight.localMs - passedMs,
      untilNextMs: rhythm.untilNextMs(sight.nowMs),
    };
  }

  return {
    name: "ours",
    arrived(request, sight) {
      ({ localMs } = sight);
      rhythm.seen(request.arrivedMs);
      lastBytes = request.bytes;
      const now = standing(request, sight, sensor.replyMs(request.bytes, sight));
      const { expectedMs, stayMs, waitMs, bet } = weighTry(now, books.prices, sight.roundTripMs);
      if (expectedMs >= stayMs) return local;
      bets.set(request.id, bet);
      return { where: "remote", backupMs: waitMs };
    },
    review(request, sight) {
      const remoteMs = sensor.remainingMs(request, sight);
      if (!remoteMs) return Infinity;
      return guardMoment(tryQuestion(standing(request, sight, remoteMs), books.prices));
    },
    ...sensor.notes,
    probe(sight) {
      const dueMs = rhythm.soonestMs(sight.nowMs);
      if (lastBytes === undefined || (dueMs < Infinity && dueMs > sight.roundTripMs + probeAheadMs)) return 0;
      // A probe is for the next request: where that is decided already it would tell nothing.
      const doubt = doubtOf(sensor.replyMs(lastBytes, sight), sight.localMs);
      return doubt < worthDoubt ? 0 : sensor.probeFor(sight, dueMs);
    },
    backupStarted: books.spend,
    ended({ id, tookMs, ranRemote, ranLocal }) {
      const deadlineMs = deadlineRatio * localMs;
      const extraRun = ranRemote && ranLocal;
      books.ended({ tookMs, runMs: localMs, deadlineMs, extraRun, bet: bets.get(id) });
      bets.delete(id);
    },
  };
}
