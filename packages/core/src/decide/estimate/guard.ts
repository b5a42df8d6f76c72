import { type Estimate, estimateSize, tailWeights } from "../../words/estimate/index.ts";

/** What the guard weighs: finish remotely, or start a second run here. */
export interface GuardQuestion {
  /** Time from now until the remote answer, as believed now. */
  readonly remoteMs: Estimate;
  /** Expected time from its start until the second run answers, the wait for its endpoint included. */
  readonly localMs: number;
  /** Price of a run on both sides, in units of `localMs`. */
  readonly extraRunPrice: number;
  /** Price of an answer later than `lateAfterMs` from now, in units of `localMs`; default 0. */
  readonly latePrice?: number;
  /** From now; default Infinity: nothing is late. */
  readonly lateAfterMs?: number;
  /** What a run here would keep waiting; default nothing. */
  readonly next?: NextRequest;
}

/**
 * The request that may come while a second run still occupies this endpoint. A run that starts late is not only dear for its
 * own request: the next one finds the endpoint busy, misses its time too, and leaves less room for the one after it.
 */
export interface NextRequest {
  /** Times until it comes, from now, equally likely; of any length. */
  readonly inMs: Float64Array;
  /** Chance that it will want to run here; `nextHereRatio` unless more is known. */
  readonly hereRatio: number;
  /** How long it may wait without being late, in milliseconds. */
  readonly slackMs: number;
}

/** Chance that the next request runs here while a second run of this one does: the link is bad then, or seems so. */
export const nextHereRatio = 0.8;

/** The moment, and what it is expected to cost. */
export interface GuardAnswer {
  /** Wait in milliseconds before the second run starts: 0 now, Infinity never. */
  readonly waitMs: number;
  /** Expected milliseconds until the answer, prices included. */
  readonly cost: number;
}

/**
 * When a second run should start so that the expected cost is least. A remote finish at r costs r when it comes before
 * the guard g, else min(r, g + local) and the price of the extra run; later than allowed costs the late price on top.
 *
 * Between two values of the belief a smaller g is never worse, so only g = 0 and the values themselves can be best: exact
 * in as many tries. The values are sorted, so each try goes on from the one before. A guard at the last value never fires.
 * Where the belief knows its tail, that counts instead of its last value: what is late once in a hundred times is dear
 * enough to be worth a guard, and 16 values do not show it.
 */
export function guardPlan(question: GuardQuestion): GuardAnswer {
  const { remoteMs, localMs, extraRunPrice, latePrice = 0, lateAfterMs = Infinity, next } = question;
  const weights = remoteMs.tail ? weightsWithTail : evenWeights;
  const count = weights.length;
  const extra = extraRunPrice * localMs;
  const late = latePrice * localMs;
  let inTime = 0;
  for (let index = 0; index < count && weighedValue(remoteMs, index) <= lateAfterMs; index++)
    inTime += weights[index] ?? 0;
  // Weight of the remote answers that are not after the guard, and of those not after the end of a run that starts then.
  let before = 0;
  let runs = 1;
  let first = 0;
  let firstWeight = 0;
  let firstMs = 0;
  let bestMs = 0;
  let bestCost = Infinity;
  let latestMs = -1;
  for (let index = -1; index < count; index++) {
    const waitMs = Math.max(0, index < 0 ? 0 : weighedValue(remoteMs, index));
    if (waitMs <= latestMs) continue;
    latestMs = waitMs;
    const endMs = waitMs + localMs;
    while (before < count && weighedValue(remoteMs, before) <= waitMs) runs -= weights[before++] ?? 0;
    for (; first < count && weighedValue(remoteMs, first) <= endMs; first++) {
      const weight = weights[first] ?? 0;
      firstMs += weight * weighedValue(remoteMs, first);
      firstWeight += weight;
    }
    const rescued = 1 - firstWeight;
    const tooLate = Math.max(0, firstWeight - inTime) + (endMs > lateAfterMs ? rescued : 0);
    const second = next ? extra + delayMs(next, endMs, late) : extra;
    const cost = firstMs + rescued * endMs + runs * second + tooLate * late;
    if (cost >= bestCost) continue;
    bestMs = waitMs;
    bestCost = cost;
  }
  // Nothing of the belief lies behind the last value: a guard there never fires.
  const never = bestMs >= weighedValue(remoteMs, count - 1);
  return { waitMs: never ? Infinity : bestMs, cost: bestCost };
}

const evenWeights = new Float64Array(estimateSize).fill(1 / estimateSize);
const weightsWithTail = Float64Array.of(...evenWeights.subarray(1), ...tailWeights);

/** A value of a belief, with the tail in place of the last one where it is known. */
function weighedValue({ values, tail }: Estimate, index: number): number {
  return (tail && index >= estimateSize - 1 ? tail[index - estimateSize + 1] : values[index]) ?? 0;
}

/** What a run here that ends `endMs` from now costs the next request. */
function delayMs({ inMs, hereRatio, slackMs }: NextRequest, endMs: number, late: number): number {
  if (inMs.length === 0) return 0;
  let total = 0;
  for (let index = 0; index < inMs.length; index++) {
    const waits = endMs - (inMs[index] ?? 0);
    if (waits > 0) total += waits + (waits > slackMs ? late : 0);
  }
  return (hereRatio * total) / inMs.length;
}

/** The moment of `guardPlan` alone: wait in milliseconds before the back-up starts, 0 now, Infinity never. */
export function guardMoment(question: GuardQuestion): number {
  return guardPlan(question).waitMs;
}

/** What is known of a remote try besides the question of its guard. */
export interface TryFacts {
  /** Milliseconds from now until acknowledgements will have told how the transfer goes: a round trip and a little more. */
  readonly toldMs: number;
  /** What tries cost beyond what was expected of them, from `tryLedger`; default 0. */
  readonly surcharge?: number;
}

/** A guarded try, and what it is expected to cost. */
export interface GuardedTry extends GuardAnswer {
  /** See `doubtOf`. */
  readonly doubt: number;
  /** In milliseconds, prices and the use of acknowledgements included. */
  readonly expectedMs: number;
}

/** Share of the gain of knowing, once acknowledgements have told, that a guard is taken to reach. */
const toldRatio = 0.7;
/** In doubt, what takes longer than so many local runs counts as that: a back-up would end it. */
const doubtLimit = 2;

/**
 * What beginning remotely costs, to be weighed against running here at once. The cost of a fixed guard undervalues trying,
 * because acknowledgements will improve the moment; what they could gain at most follows from the belief itself: the cost if
 * the truth came out after `toldMs` and the better of waiting and running here were taken then. A guard reaches a fixed share
 * of that. Where nothing could be done about a bad surprise, because no second run is allowed or it would come too late,
 * nothing is gained by being told.
 */
export function guardedTry(question: GuardQuestion, { toldMs, surcharge = 0 }: TryFacts): GuardedTry {
  const { remoteMs, localMs } = question;
  const plan = guardPlan(question);
  const gain = Math.max(0, plan.cost - costWhenTold(question, toldMs));
  const doubt = doubtOf(remoteMs, localMs);
  const expectedMs = plan.cost - toldRatio * gain + surcharge * doubt * localMs;
  return { waitMs: plan.waitMs, cost: plan.cost, doubt, expectedMs };
}

/** Expected cost of a try whose outcome is known after `toldMs`, and which is then waited for or run here as is better. */
function costWhenTold(question: GuardQuestion, toldMs: number): number {
  const { remoteMs, localMs, extraRunPrice, latePrice = 0, lateAfterMs = Infinity } = question;
  const late = latePrice * localMs;
  const priced = (ms: number): number => ms + (ms > lateAfterMs ? late : 0);
  let total = 0;
  for (let index = 0; index < estimateSize; index++) {
    const remote = remoteMs.values[index] ?? 0;
    const alone = priced(remote);
    const both = priced(Math.min(remote, toldMs + localMs)) + extraRunPrice * localMs;
    total += remote <= toldMs ? alone : Math.min(alone, both);
  }
  return total / estimateSize;
}

/**
 * What it would be worth to know now how a try ends, in local runs: 0 where the belief says clearly which endpoint is quicker.
 * It scales what is learned from tries, and says whether a probe can change anything.
 */
export function doubtOf(remoteMs: Estimate, localMs: number): number {
  // What takes no time here is decided.
  if (!(localMs > 0)) return 0;
  let told = 0;
  let blind = 0;
  for (let index = 0; index < estimateSize; index++) {
    const remote = remoteMs.values[index] ?? 0;
    told += Math.min(remote, localMs);
    blind += Math.min(remote, doubtLimit * localMs);
  }
  return (Math.min(blind / estimateSize, localMs) - told / estimateSize) / localMs;
}
