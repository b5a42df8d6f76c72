import {
  guardedChoice,
  guardMoment,
  hedgeBudget,
  type GuardQuestion,
  type HedgeBudgetOptions,
  linkBelief,
  type LinkBeliefOptions,
  shift,
  type TransferNote,
} from "@longshore/core";
import type { ReplayPolicy, RequestFacts, Sight } from "./policy.ts";

/** Settings of our policy. One set serves every link. */
export interface OursOptions {
  readonly link?: LinkBeliefOptions;
  readonly budget?: HedgeBudgetOptions;
  /** Credit of the remote side when it is chosen (default 0.3), and while it is waited for (0), in local runs. */
  readonly startCreditRatio?: number;
  readonly waitCreditRatio?: number;
  /** Share of the late price that counts when the place is chosen; all of it counts once under way. Default 0.7. */
  readonly startLateRatio?: number;
  /** An answer later than this multiple of the local run pays the late price; default 1.3. */
  readonly lateRatio?: number;
  /** Whether probes are sent when the link is idle; default true. */
  readonly probes?: boolean;
}

/** The belief, guard and budget of core, used the way the offloader uses them: honest sensors only. */
export function ours(options: OursOptions = {}): ReplayPolicy {
  const {
    startCreditRatio = 0.3,
    startLateRatio = 0.7,
    waitCreditRatio = 0,
    lateRatio = 1.3,
    probes = true,
  } = options;
  const link = linkBelief(options.link);
  const budget = hedgeBudget(options.budget);
  const notes = new Map<number, TransferNote>();
  let knowsRoundTrip = false;
  let localMs = Infinity;

  function question(
    request: RequestFacts,
    sight: Sight,
    note: TransferNote | undefined,
    creditRatio: number,
  ): GuardQuestion {
    const upload = note ? note.remainingMs(sight.nowMs) : link.transferMs(request.bytes, "up", sight.nowMs);
    return {
      remoteMs: shift(upload, sight.serverMs + sight.roundTripMs / 2),
      localMs: sight.localMs + sight.localWaitMs,
      extraRunPrice: budget.allows ? budget.price : 1e6,
      latePrice: budget.latePrice,
      lateAfterMs: lateRatio * sight.localMs - (sight.nowMs - request.arrivedMs),
      biasMs: creditRatio * sight.localMs,
    };
  }

  return {
    name: "ours",
    arrived(request, sight) {
      localMs = sight.localMs;
      if (!knowsRoundTrip) {
        knowsRoundTrip = true;
        link.roundTripSeen(sight.roundTripMs, sight.nowMs);
      }
      const asked = question(request, sight, undefined, 0);
      const choice = guardedChoice(
        { ...asked, latePrice: startLateRatio * budget.latePrice },
        startCreditRatio,
      );
      return choice.where === "local" ? choice : { where: "remote", backupMs: choice.waitMs };
    },
    review(request, sight) {
      const note = notes.get(request.id);
      if (!note) return Infinity;
      return guardMoment(question(request, sight, note, waitCreditRatio));
    },
    sent(id, bytes, nowMs) {
      notes.set(id, link.sendStarted(bytes, "up", nowMs));
    },
    acknowledged: (id, totalBytes, nowMs) => notes.get(id)?.progressed(totalBytes, nowMs),
    sendEnded(id, complete, nowMs) {
      notes.get(id)?.ended(nowMs, complete);
      notes.delete(id);
    },
    backupStarted: () => budget.spend(),
    ended({ tookMs, ranRemote, ranLocal }) {
      budget.note({ extraRun: ranRemote && ranLocal, late: tookMs > lateRatio * localMs });
    },
    probe: (sight) => (probes ? link.probeBytes("up", sight.nowMs) : 0),
  };
}
