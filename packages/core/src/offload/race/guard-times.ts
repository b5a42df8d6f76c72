import type { Clock } from "../../words/base/index.ts";
import { chanceBelow, type Estimate, meanOf } from "../../words/estimate/index.ts";
import {
  type DeviceDemand,
  type DevicePrice,
  idleDevice,
  isDear,
  type TryPrices,
} from "../../decide/estimate/index.ts";
import type { Leg } from "../../decide/plan/index.ts";
import {
  hardlyMore,
  inTimeMs,
  judge,
  type LinkTable,
  overdueMs,
  readBetween,
  readingOf,
  sizeCount,
  sizePosition,
} from "../../decide/table/index.ts";
import type { LocalWork } from "../endpoints/index.ts";
import type { EndpointState } from "../endpoints/index.ts";

/** When a guard may start what. */
export interface GuardTimes {
  /** At the latest so many milliseconds after now. */
  readonly latestMs: number;
  /**
   * Not before so many milliseconds after now, unless a deadline needs it. A back-up at another endpoint takes a
   * slot from somebody: it waits until the answer is later than hardly any (J. Dean, L. A. Barroso 2013, "The tail at
   * scale").
   */
  readonly earliestMs: number;
  /** Time until the back-up would answer if it started now, its queue included. */
  readonly backUpMs: () => number;
  /** Of a back-up here, what of that is its queue. Without it, nothing is late that has no deadline. */
  readonly waitMs?: () => number;
  /** The chance that such a one would be later than that if it started now; see `waitMs`. */
  readonly lateRatio?: (leftMs: number) => number;
  /** Of a back-up here: it is kept back for a deadline, see `LocalWork`. */
  readonly keepBack?: LocalWork["keepBack"];
  /** What still has to run here after the leg, in milliseconds; 0 when it gives the answer. */
  readonly afterMs: number;
  /** What back-ups here of so many milliseconds keep waiting. */
  readonly device: (nowMs: number, runMs: number) => DevicePrice;
  /** Until the device, or the turn of the request at it, is free for a back-up here; default 0. */
  readonly freeMs?: (nowMs: number) => number;
  /** Of a back-up here: its turn at the device, see `LocalWork`. */
  readonly standBy?: LocalWork["standBy"];
  /**
   * After so many milliseconds the request is taken to be lost there, and as soon as it is later than expected where the endpoint has
   * failed others meanwhile: starting the back-up then is a retry and needs nothing of the budget of second runs, which may be
   * spent on this very endpoint. Infinity: never.
   */
  readonly lostMs: number;
}

/**
 * A back-up at another endpoint starts when an answer takes this many times the longest that is expected: requests that wait where
 * others wait, too, are not helped by asking twice.
 */
const farOut = 2;
/** A request counts as lost after this many times its longest likely duration. */
const lostOut = 4;
/** The shortest time after which a request counts as lost, in milliseconds. */
export const leastLostMs = 100;

/**
 * When a back-up at another endpoint may start that watches a leg of which this is expected; and when the leg counts as lost after all,
 * where its endpoint has answered nothing since it began.
 */
export function elsewhereMs({ values }: Estimate): {
  readonly earliestMs: number;
  readonly lostMs: number;
  readonly overdueMs: number;
} {
  return {
    earliestMs: farOut * (values[values.length - 1] ?? 0),
    lostMs: Math.max(leastLostMs, lostOut * hardlyMore(values)),
    overdueMs: Math.max(leastLostMs, overdueMs(values)),
  };
}

/** Whether so much more is expected of a leg that somebody else would be asked beside it. */
export function isFarSlower({ predicted }: Leg, than: Leg): boolean {
  return meanOf(predicted.completionMs) > farOut * meanOf(than.predicted.completionMs);
}

/** Of a leg with a back-up: `here`, which keeps other work here waiting, or at another endpoint. */
export function guardFor(
  {
    clock,
    work,
    arrivals,
  }: { readonly clock: Clock; readonly work: LocalWork; readonly arrivals: Pick<DeviceDemand, "price"> },
  leg: Leg,
  planned: {
    readonly backUp: Leg;
    readonly here: boolean;
    /** What runs here after the leg. */
    readonly tail: Leg | undefined;
    /** Undefined where it waits until the leg has failed, or is lost. */
    readonly latestMs: number | undefined;
  },
): GuardTimes {
  const { backUp, here, tail, latestMs = Infinity } = planned;
  const atPlanMs = meanOf(backUp.predicted.completionMs);
  const afterMs = tail ? meanOf(tail.predicted.completionMs) : 0;
  if (!here) {
    const { earliestMs, lostMs } = elsewhereMs(leg.predicted.completionMs);
    return { latestMs, earliestMs, lostMs, backUpMs: () => atPlanMs, device: keepsNobody, afterMs };
  }
  const queuedMs = work.queueMs(clock.nowMs());
  const longerMs = (): number => work.queueMs(clock.nowMs()) - queuedMs;
  return {
    latestMs,
    earliestMs: 0,
    // Without a deadline, and without means, nothing else would ever start it.
    lostMs: latestMs === Infinity ? elsewhereMs(leg.predicted.completionMs).lostMs : Infinity,
    backUpMs: () => atPlanMs + longerMs(),
    waitMs: () => work.queueMs(clock.nowMs()),
    lateRatio: (leftMs) => 1 - chanceBelow(backUp.predicted.completionMs, leftMs - longerMs()),
    keepBack: (deadlineMs, before) => work.keepBack(deadlineMs, before),
    device: (nowMs, runMs) => (work.fills(nowMs) ? arrivals.price(nowMs, runMs) : idleDevice),
    freeMs: (nowMs) => work.freeMs(nowMs),
    standBy: (ask) => work.standBy(ask),
    afterMs,
  };
}

/**
 * Of a leg that has no back-up in its plan, where another endpoint may still be asked: it is taken to be as quick. Where second runs are
 * dear, and where nobody hurries, it is asked in time for a deadline that is `remainingMs` away, and not because the leg is overdue.
 */
export function guardAlone(leg: Leg, prices: TryPrices, hurries: boolean, remainingMs: number): GuardTimes {
  const { completionMs } = leg.predicted;
  const { earliestMs, lostMs } = elsewhereMs(completionMs);
  const patienceMs = hurries && !isDear(prices) ? overdueMs(completionMs.values) : Infinity;
  return {
    latestMs: Math.min(patienceMs, inTimeMs(remainingMs, completionMs.values)),
    earliestMs,
    lostMs,
    backUpMs: () => meanOf(completionMs),
    device: keepsNobody,
    afterMs: 0,
  };
}

const keepsNobody = (): DevicePrice => idleDevice;

/**
 * What a leg that begins now hardly ever takes while its link is well, less what it is expected to wait at its endpoint for those before it,
 * in milliseconds: its way and its run. What is charged there for failures, or for having just come back, is a price and no time.
 * Nothing comes over the link of an endpoint that hangs, which makes the link seem to be silent for seconds: so what is expected of the way
 * grows just when it should not be waited for.
 */
export function lateAloneMs(endpoint: EndpointState, { travels, predicted }: Leg, nowMs: number): number {
  if (!travels) return hardlyMore(predicted.completionMs.values);
  const { upMs, thereMs, downMs, promisedMs } = travels;
  const waitMs = Math.max(0, meanOf(thereMs) - promisedMs * endpoint.service.ratio(nowMs));
  const wayMs = (wayWellMs(upMs) + wayWellMs(downMs)) * heardRatio(endpoint, predicted.sentBytes);
  return wayMs + hardlyMore(thereMs.values) - waitMs;
}

/** What a way may take beyond so many times its quick time is silence. */
const spreadRatio = 4;
const quick = readingOf(0.2);

/** What a way hardly ever takes, in milliseconds; where most of that may be silence, what it takes when it is quick. */
function wayWellMs({ values }: Estimate): number {
  const [atLeastMs, hardlyMoreMs] = [judge(values, quick), hardlyMore(values)];
  return hardlyMoreMs > spreadRatio * atLeastMs ? atLeastMs : hardlyMoreMs;
}

/** The share of what is believed of a way now that was believed when something was last heard over it: the rest is silence. */
function heardRatio({ table, heardTable }: EndpointState, bytes: number): number {
  if (table === heardTable) return 1;
  const { index, fraction } = sizePosition(bytes);
  const quickMs = ({ up }: LinkTable): number => readBetween(up, sizeCount, index, fraction, quick);
  const [nowMs, heardMs] = [quickMs(table), quickMs(heardTable)];
  return heardMs < nowMs ? heardMs / nowMs : 1;
}
