import { type Bet, type TryPrices, type WeighedTry, weighTry } from "../estimate/index.ts";
import { estimateSize } from "../../words/estimate/index.ts";
import { isSaving } from "../goal/index.ts";
import type { BackUp, LocalCandidate } from "./back-up.ts";
import type { PricedRemote } from "./priced.ts";
import type { PlanInputs } from "./plan-inputs.ts";
import { inTimeMs, meanValue } from "../table/index.ts";

/** A remote candidate with its back-up. */
export interface Guarded {
  /** Completion with the back-up: 16 values. */
  readonly values: Float64Array;
  /** Share of all cases in which the back-up runs. */
  readonly backUpRatio: number;
  /** Charge beyond the values for the remote try, in milliseconds: lateness, second runs, and the requests that they delay. */
  readonly chargedMs: number;
  /** Charge of a local run instead, in milliseconds: it delays other requests. */
  readonly stayChargedMs: number;
  /** The loss that is expected of the try, for the guard; undefined without one. */
  readonly bet: Bet | undefined;
}

/**
 * The completion of a remote candidate with a back-up: the remote answer if it arrives before the guard, otherwise the first of the two.
 *
 * The objective decides when the back-up starts. For latency, `weighTry` weighs the try by the record of its endpoint. For the chance to meet
 * the deadline, the back-up starts in time for it, whatever it costs. For energy or cost it starts no earlier than that. Neither run can start before
 * the local head is done, so `head`, its share of the completion, is subtracted first and added again. A slow head comes with a slow rest:
 * beliefs add up by quantile (see `Estimate`).
 */
export function guardedValues(
  { scratch, view, goal, remainingMs }: PlanInputs,
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
  const chargedMs = tried ? triedMs(tried, values, backUp, localMs) - (expectedMs - headMs) : 0;
  return {
    values: guarded,
    backUpRatio: late / estimateSize,
    // A try never costs less than nothing.
    chargedMs: Number.isFinite(chargedMs) ? Math.max(-expectedMs, chargedMs) : 0,
    stayChargedMs: tried ? tried.stayMs - localMs : 0,
    // The record of the endpoint counts whole requests.
    bet: tried && fromStart(tried.bet, headMs),
  };
}

/**
 * Expected loss of a try. Where staying is at least as good at every quantile and delays nobody, a second run gains only because it is a
 * second draw of the same device. That is no reason to send, so the remote answer counts alone.
 */
function triedMs(
  { expectedMs, stayMs }: WeighedTry,
  remote: Float64Array,
  backUp: Float64Array,
  localMs: number,
): number {
  if (stayMs > localMs) return expectedMs;
  for (let index = 0; index < estimateSize; index++) {
    if ((remote[index] ?? 0) < (backUp[index] ?? 0)) return expectedMs;
  }
  return Math.max(expectedMs, meanValue(remote));
}

/**
 * Whether a local back-up can keep the deadline of any remote try, so that the try need not meet it alone. It counts only if the objective is
 * energy or cost. A required share of met deadlines counts without back-ups, and limits on energy or cost may not allow both runs.
 */
export function keepsDeadline(
  { goal, request, remainingMs }: PlanInputs,
  locals: readonly LocalCandidate[],
): boolean {
  const { minInTimeRatio, maxDeviceMillijoules, maxCostMicros } = request.limits;
  const limited = (minInTimeRatio ?? maxDeviceMillijoules ?? maxCostMicros) !== undefined;
  if (!isSaving(goal) || remainingMs === Infinity || limited) return false;
  const able = locals.flatMap(({ backUp, priced }) => (backUp && priced ? [priced] : []));
  return able.length > 0 && able.every(({ values }) => inTimeMs(remainingMs, values) < Infinity);
}

/** The same bet, counted from the start of the request instead of the start of the try. */
function fromStart(bet: Bet, headMs: number): Bet {
  if (headMs === 0) return bet;
  const { loss, begins } = bet;
  return { loss: { ...loss, lateAfterMs: headMs + loss.lateAfterMs }, begins };
}

/** A completion without a back-up. */
export function unguarded(values: Float64Array): Guarded {
  return { values, backUpRatio: 0, chargedMs: 0, stayChargedMs: 0, bet: undefined };
}
