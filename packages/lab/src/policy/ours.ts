import {
  arrivals,
  type Estimate,
  guardedChoice,
  guardMoment,
  hedgeBudget,
  type GuardQuestion,
  type HedgeBudgetOptions,
  nextHereRatio,
} from "@longshore/core";
import { honestSensor, type HonestSensorOptions } from "./honest-sensor.ts";
import type { ReplayPolicy, RequestFacts, Sight } from "./policy.ts";

/** Settings of our policy. One set serves every link. */
export interface OursOptions extends HonestSensorOptions {
  readonly budget?: HedgeBudgetOptions;
  /** Credit of the remote side when it is chosen (default 0.3), and while it is waited for (-0.05), in local runs. */
  readonly startCreditRatio?: number;
  readonly waitCreditRatio?: number;
  /** Share of the late price that counts when the place is chosen; all of it counts once under way. Default 0.7. */
  readonly startLateRatio?: number;
  /** An answer later than this multiple of the local run pays the late price; default 1.3. */
  readonly lateRatio?: number;
}

/** Price of a run that the budget does not allow, in local runs. */
const forbidden = 1e6;

/** The belief, guard and budget of core, used the way the offloader uses them: honest sensors only. */
export function ours(options: OursOptions = {}): ReplayPolicy {
  const { startCreditRatio = 0.3, startLateRatio = 0.7, waitCreditRatio = -0.05, lateRatio = 1.3 } = options;
  const sensor = honestSensor(options);
  const budget = hedgeBudget(options.budget);
  const rhythm = arrivals();
  let localMs = Infinity;

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
      const asked = question(request, sight, sensor.replyMs(request.bytes, sight));
      const choice = guardedChoice(
        { ...asked, latePrice: startLateRatio * budget.latePrice },
        startCreditRatio,
      );
      return choice.where === "local" ? choice : { where: "remote", backupMs: choice.waitMs };
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
    backupStarted: () => budget.spend(),
    ended({ tookMs, ranRemote, ranLocal }) {
      budget.note({ extraRun: ranRemote && ranLocal, late: tookMs > lateRatio * localMs });
    },
  };
}
