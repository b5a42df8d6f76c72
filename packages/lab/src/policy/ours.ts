import {
  arrivals,
  doubtOf,
  type Estimate,
  guardedChoice,
  guardMoment,
  hedgeBudget,
  type GuardQuestion,
  type HedgeBudgetOptions,
  nextHereRatio,
  tryLedger,
} from "@longshore/core";
import { honestSensor, type HonestSensorOptions } from "./honest-sensor.ts";
import type { ReplayPolicy, RequestFacts, Sight } from "./policy.ts";

/** Settings of our policy. One set serves every link. */
export interface OursOptions extends HonestSensorOptions {
  readonly budget?: HedgeBudgetOptions;
  /** Credit of the remote side while it is waited for, in local runs; default 0. */
  readonly waitCreditRatio?: number;
  /** Share of the late price that counts when the place is chosen; all of it counts once under way. Default 0.7. */
  readonly startLateRatio?: number;
  /** An answer later than this multiple of the local run pays the late price; default 1.3. */
  readonly lateRatio?: number;
}

/** Price of a run that the budget does not allow, in local runs. */
const forbidden = 1e6;
/** After a round trip, acknowledgements of so long tell how a transfer goes. */
const ackMs = 30;
/** A probe is thought of a round trip and so long before the next request is due. */
const probeAheadMs = 60;
/** Doubt below which a probe is not worth its bytes. */
const worthDoubt = 0.01;
/** Local runs that a try counts for at most, however long it took. */
const mostRuns = 3;

/** What is remembered of a remote try until it is over; prices in local runs. */
interface Try {
  readonly doubt: number;
  /** In milliseconds. */
  readonly expected: number;
  readonly extraRunPrice: number;
  readonly latePrice: number;
}

/** The belief, guard and budget of core, used the way the offloader uses them: honest sensors only. */
export function ours(options: OursOptions = {}): ReplayPolicy {
  const { startLateRatio = 0.7, waitCreditRatio = 0, lateRatio = 1.3 } = options;
  const sensor = honestSensor(options);
  const budget = hedgeBudget(options.budget);
  const rhythm = arrivals();
  const ledger = tryLedger();
  const tries = new Map<number, Try>();
  let localMs = Infinity;
  let lastBytes: number | undefined;

  function question(request: RequestFacts, sight: Sight, remoteMs: Estimate): GuardQuestion {
    return {
      remoteMs,
      localMs: sight.localMs + sight.localWaitMs,
      extraRunPrice: budget.allows ? budget.price : forbidden,
      latePrice: budget.latePrice,
      lateAfterMs: lateRatio * sight.localMs - (sight.nowMs - request.arrivedMs),
      next: {
        inMs: rhythm.untilNextMs(sight.nowMs),
        hereRatio: nextHereRatio,
        slackMs: Math.max(0, lateRatio - 1) * sight.localMs,
      },
    };
  }

  return {
    name: "ours",
    arrived(request, sight) {
      ({ localMs } = sight);
      rhythm.seen(request.arrivedMs);
      lastBytes = request.bytes;
      const asked = question(request, sight, sensor.replyMs(request.bytes, sight));
      const latePrice = startLateRatio * budget.latePrice;
      const choice = guardedChoice(
        { ...asked, latePrice },
        { toldMs: sight.roundTripMs + ackMs, surcharge: ledger.surcharge },
      );
      if (choice.where === "local") return choice;
      const { doubt, expected } = choice;
      tries.set(request.id, { doubt, expected, extraRunPrice: asked.extraRunPrice, latePrice });
      return { where: "remote", backupMs: choice.waitMs };
    },
    review(request, sight) {
      const remoteMs = sensor.remainingMs(request, sight);
      if (!remoteMs) return Infinity;
      return guardMoment({
        ...question(request, sight, remoteMs),
        biasMs: waitCreditRatio * sight.localMs,
      });
    },
    ...sensor.notes,
    probe(sight) {
      const dueMs = rhythm.soonestMs(sight.nowMs);
      if (lastBytes === undefined || (dueMs < Infinity && dueMs > sight.roundTripMs + probeAheadMs)) return 0;
      // A probe is for the next request: where that is decided already it would tell nothing.
      const doubt = doubtOf(sensor.replyMs(lastBytes, sight), sight.localMs);
      return doubt < worthDoubt ? 0 : sensor.probeFor(sight, dueMs);
    },
    backupStarted: () => budget.spend(),
    ended({ id, tookMs, ranRemote, ranLocal }) {
      const took = tookMs / localMs;
      budget.note({ extraRun: ranRemote && ranLocal, late: took > lateRatio });
      const tried = tries.get(id);
      if (!tried) return;
      tries.delete(id);
      const late = took > lateRatio ? tried.latePrice : 0;
      const paid = Math.min(mostRuns, took) + (ranLocal ? tried.extraRunPrice : 0) + late;
      ledger.note(tried.doubt, tried.expected / localMs, paid);
    },
  };
}
