import type { Clock } from "../../words/base/index.ts";
import { chanceBelow, type Estimate, meanOf } from "../../words/estimate/index.ts";
import {
  type DeviceDemand,
  type DevicePrice,
  type SecondRunQuestion,
  idleDevice,
  strained,
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
  /** The latest start, in milliseconds from now. */
  readonly latestMs: number;
  /**
   * The earliest start, in milliseconds from now, unless a deadline needs an earlier one. A back-up at another endpoint takes a slot from
   * other requests, so it waits until the answer is later than almost all answers (J. Dean, L. A. Barroso 2013, "The tail at scale").
   */
  readonly earliestMs: number;
  /** Time until the back-up would answer if it started now, its queue included. */
  readonly backUpMs: () => number;
  /** For a back-up here: the part of its time that is its queue. Without this, nothing counts as late without a deadline. */
  readonly waitMs?: () => number;
  /** The probability that such a back-up would be late if it started now; see `waitMs`. */
  readonly lateRatio?: (leftMs: number) => number;
  /** Of a back-up here: it is kept back for a deadline, see `LocalWork`. */
  readonly keepBack?: LocalWork["keepBack"];
  /** Time of the part that runs here after the leg, in milliseconds; 0 if the leg gives the answer. */
  readonly afterMs: number;
  /** The price of delaying others by a back-up here of this length. */
  readonly device: (nowMs: number, runMs: number) => DevicePrice;
  /** Until the device, or the turn of the request at it, is free for a back-up here; default 0. */
  readonly freeMs?: (nowMs: number) => number;
  /** Of a back-up here: the runs that wait behind its turn, as long as recent requests took no less on a device where all requests run. */
  readonly waiting?: (nowMs: number) => SecondRunQuestion["waiting"];
  /** Of a back-up here: its turn at the device, see `LocalWork`. */
  readonly standBy?: LocalWork["standBy"];
  /**
   * The request counts as lost after this time, in milliseconds. It does so as soon as it is late if the endpoint has failed other requests
   * since. The back-up is then a retry and needs nothing of the budget of second runs, which may be spent on this very endpoint. Infinity:
   * never.
   */
  readonly lostMs: number;
}

/**
 * A back-up at another endpoint starts when an answer takes this many times the longest expected time. A second request does not help where
 * all requests wait.
 */
const farOut = 2;
/** Runs here that end before the latest time of a request that gave up its turn: its own, and two that come to their latest time with it. */
const runsToLast = 3;
/** A request counts as lost after this many times its longest likely duration. */
const lostOut = 4;
/** The shortest time after which a request counts as lost, in milliseconds. */
export const leastLostMs = 100;

/**
 * When a back-up at another endpoint may start, for a leg with this expectation, and when the leg counts as lost although its endpoint
 * answered nothing since it began.
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

/** Whether a leg is expected to be so much slower that a second endpoint would run beside it. */
export function isFarSlower({ predicted }: Leg, than: Leg): boolean {
  return meanOf(predicted.completionMs) > farOut * meanOf(than.predicted.completionMs);
}

/** The state of this device that a guard reads. */
interface GuardedDevice {
  readonly work: LocalWork;
  readonly arrivals: Pick<DeviceDemand, "price" | "allHereMs" | "longestHereMs">;
  readonly strainRatio: () => number;
}

/** Of a leg with a back-up: `here`, which keeps other work here waiting, or at another endpoint. */
export function guardFor(
  clock: Clock,
  { work, arrivals, strainRatio }: GuardedDevice,
  leg: Leg,
  planned: {
    readonly backUp: Leg;
    readonly here: boolean;
    /** The leg that runs here after this one. */
    readonly tail: Leg | undefined;
    /** Undefined if the back-up waits until the leg has failed or counts as lost. */
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
  const startedMs = clock.nowMs();
  const queuedMs = work.queueMs(startedMs);
  const { allHereMs } = arrivals;
  const runsMs = runsToLast * Math.max(0, atPlanMs - queuedMs);
  const lastTurnMs = (): number => Math.max(allHereMs, startedMs + arrivals.longestHereMs - runsMs);
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
    device: (nowMs, runMs) =>
      strained(work.fills(nowMs) ? arrivals.price(nowMs, runMs) : idleDevice, strainRatio()),
    freeMs: (nowMs) => work.freeMs(nowMs),
    // A request that gave up its turn for others is answered at the latest after the longest time that a recent request would have taken
    // without any offloading: the worst answer stays near the worst of such a device. With its own time as the bound, each request of a burst
    // whose link becomes slower takes the device from those that wait behind it.
    waiting: (nowMs) => (nowMs < lastTurnMs() ? work.waiting() : undefined),
    standBy: (ask) => work.standBy(ask),
    afterMs,
  };
}

/**
 * Guard times of a leg whose plan has no back-up, while another endpoint is left. That endpoint is assumed to be as quick. If second runs
 * are dear or the objective does not hurry, it starts in time for a deadline `remainingMs` away, not because the leg is overdue.
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
 * The longest likely time of a leg that begins now, in milliseconds, without the queue at its endpoint: transfer and run over a healthy
 * link. Charges for failures or for a recent start are prices, not time. A hanging endpoint makes its link seem silent for seconds, so the
 * expected transfer time grows exactly when it should not be waited for; this figure leaves that silence out.
 */
export function lateAloneMs(
  endpoint: Pick<EndpointState, "link" | "service">,
  { travels, predicted }: Leg,
  nowMs: number,
): number {
  if (!travels) return hardlyMore(predicted.completionMs.values);
  const { upMs, thereMs, downMs, promisedMs } = travels;
  const waitMs = Math.max(0, meanOf(thereMs) - promisedMs * endpoint.service.ratio(nowMs));
  const wayMs = (wayWellMs(upMs) + wayWellMs(downMs)) * heardRatio(endpoint, predicted.sentBytes);
  return wayMs + hardlyMore(thereMs.values) - waitMs;
}

/** A transfer beyond this many times its quick time is silence. */
const spreadRatio = 4;
const quick = readingOf(0.2);

/** The longest likely time of a transfer, in milliseconds. If most of that may be silence, the quick time counts. */
function wayWellMs({ values }: Estimate): number {
  const [atLeastMs, hardlyMoreMs] = [judge(values, quick), hardlyMore(values)];
  return hardlyMoreMs > spreadRatio * atLeastMs ? atLeastMs : hardlyMoreMs;
}

/** Share of the current transfer estimate that was already believed when something was last received over the link. The rest is silence. */
function heardRatio({ link: { table, heardTable } }: Pick<EndpointState, "link">, bytes: number): number {
  if (table === heardTable) return 1;
  const { index, fraction } = sizePosition(bytes);
  const quickMs = ({ up }: LinkTable): number => readBetween(up, sizeCount, index, fraction, quick);
  const [nowMs, heardMs] = [quickMs(table), quickMs(heardTable)];
  return heardMs < nowMs ? heardMs / nowMs : 1;
}
