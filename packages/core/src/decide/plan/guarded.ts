import { type Bet, type TryPrices, weighTry } from "../estimate/index.ts";
import { estimateSize } from "../../words/estimate/index.ts";
import { isSaving } from "../goal/index.ts";
import type { BackUp, LocalCandidate } from "./finalists.ts";
import type { PricedRemote } from "./priced.ts";
import type { Question } from "./question.ts";
import { inTimeMs, meanValue } from "../table/index.ts";

/** What a back-up makes of a remote candidate. */
export interface Guarded {
  /** Completion with the back-up: 16 values. */
  readonly values: Float64Array;
  /** Share of all cases in which the back-up runs. */
  readonly backUpRatio: number;
  /**
   * What is charged in milliseconds beyond the values for trying: lateness, second runs, and what they keep waiting.
   */
  readonly chargedMs: number;
  /** What a run here is charged beside it: it keeps others waiting. */
  readonly stayChargedMs: number;
  /** What the try is thought of now. */
  readonly bet: Bet | undefined;
}

/**
 * What a back-up that runs in the values of `backUp` makes of a completion: the remote answer when it comes before the guard, else the
 * first of the two. Where latency is made small, the try is weighed by the books of its endpoint (`weighTry`); where the chance to be in time is, the
 * back-up starts in time for the deadline whatever it costs, and where energy or money is, not before that. Neither can start before the
 * head here is done, so its `head` (what of the completion is before that) is taken off first and added again. Slow is taken to come with
 * slow, as everywhere in beliefs.
 */
export function guardedValues(
  { scratch, view, goal, remainingMs }: Question,
  { values: remote, tail: slowest }: Pick<PricedRemote, "values" | "tail">,
  { values: backUp, head }: BackUp,
  prices: TryPrices,
): Guarded {
  const headMs = head ? meanValue(head) : 0;
  const values = head ? scratch.beliefs.take() : remote;
  if (head) {
    for (let index = 0; index < estimateSize; index++) {
      values[index] = (remote[index] ?? 0) - (head[index] ?? 0);
    }
  }
  const tail = head ? slowest.map((value) => value - (head[estimateSize - 1] ?? 0)) : slowest;
  const remoteMs = { values, tail, observedAtMs: view.atMs, origin: "measured" } as const;
  const localMs = meanValue(backUp);
  const { queueMs, price, loss: lossOptions } = view.device;
  const leftMs = remainingMs - headMs;
  const waits = Math.min(localMs, queueMs);
  const device = price?.(localMs - waits);
  const standing = { remoteMs, localMs, waitMs: waits, passedMs: 0, leftMs, device };
  const saving = isSaving(goal);
  const weighed = saving ? undefined : weighTry(standing, prices, lossOptions);
  const tried = goal.kind === "chance" ? undefined : weighed;
  const waitMs =
    tried?.waitMs ?? Math.max(0, Math.min(weighed?.waitMs ?? Infinity, inTimeMs(leftMs, backUp)));
  let late = 0;
  const guarded = scratch.beliefs.take();
  for (let index = 0; index < estimateSize; index++) {
    const finish = values[index] ?? 0;
    if (finish > waitMs) late++;
    const first = finish <= waitMs ? finish : Math.min(finish, waitMs + (backUp[index] ?? 0));
    guarded[index] = first + (head?.[index] ?? 0);
  }
  const expectedMs = meanValue(guarded);
  const chargedMs = tried ? tried.expectedMs - (expectedMs - headMs) : 0;
  return {
    values: guarded,
    backUpRatio: late / estimateSize,
    // No try costs less than nothing.
    chargedMs: Number.isFinite(chargedMs) ? Math.max(-expectedMs, chargedMs) : 0,
    stayChargedMs: tried ? tried.stayMs - localMs : 0,
    // The books go by the whole request.
    bet: tried && fromStart(tried.bet, headMs),
  };
}

/**
 * Whether a run here keeps the deadline of whatever is tried elsewhere, which then need not be in time alone: where energy or money is made
 * small. A share of cases in which a deadline is to be kept is meant without back-ups, and limits may leave no room for both runs.
 */
export function keepsDeadline(
  { goal, request, remainingMs }: Question,
  locals: readonly LocalCandidate[],
): boolean {
  const { minInTimeRatio, maxDeviceMillijoules, maxCostMicros } = request.limits;
  const limited = (minInTimeRatio ?? maxDeviceMillijoules ?? maxCostMicros) !== undefined;
  if (!isSaving(goal) || remainingMs === Infinity || limited) return false;
  const able = locals.flatMap(({ backUp, priced }) => (backUp && priced ? [priced] : []));
  return able.length > 0 && able.every(({ values }) => inTimeMs(remainingMs, values) < Infinity);
}

/** The same bet, counted from the start of what runs before the try. */
function fromStart(bet: Bet, headMs: number): Bet {
  if (headMs === 0) return bet;
  const { loss, begins } = bet;
  return { loss: { ...loss, lateAfterMs: headMs + loss.lateAfterMs }, begins };
}

/** A completion without a back-up. */
export function unguarded(values: Float64Array): Guarded {
  return { values, backUpRatio: 0, chargedMs: 0, stayChargedMs: 0, bet: undefined };
}
