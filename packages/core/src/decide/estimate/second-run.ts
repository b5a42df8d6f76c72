/**
 * When to start a run here beside a request that was sent away. One formula serves before and after the request is late.
 *
 * The obvious rule, a timer at some quantile, ignores the cost of the run: device time that other requests need, often without gain because
 * the answer comes anyway. So each moment `g` has a price, and the cheapest moment wins. The plan is computed again as acknowledgements and
 * silence change the belief. A run begins when now is the cheapest moment.
 *
 * cost(g) = E[loss(min(R, end))] + price L P(charged) + P(R > g) (held(end) - held(without)), end = max(g, free) + L
 *
 * held(end) also counts the requests that wait for their turn here already. Each was promised an answer without this run, so its delay is
 * lateness: without that weight, a burst that fills the device is answered late as a whole by runs in place of answers under way.
 *
 * R is the time of the remote answer, L a run here, `free` the time until the device is free. Before sending, every second run is charged
 * (R > g). Once the request is under way, only runs in vain are (g < R <= end): a run that saves the answer is not charged.
 */
import { type Estimate, estimateSize, tailWeights } from "../../words/estimate/index.ts";
import type { DevicePrice } from "./device-price.ts";
import { type Loss, lossOf } from "./loss.ts";

/** Inputs of the plan. All times are from now unless said otherwise. */
export interface SecondRunQuestion {
  /** Until the remote answer. */
  readonly remoteMs: Estimate;
  /** One run here. */
  readonly runMs: number;
  /** Until the device, or the request's turn in its queue, is free for a second run. */
  readonly freeMs: number;
  /** Since the request arrived. */
  readonly passedMs: number;
  readonly loss: Loss;
  /** Price of a run beside a remote one, in runs here. */
  readonly price: number;
  /** Which runs the price applies to. */
  readonly charged: "all" | "in-vain";
  readonly device: DevicePrice;
  /** Runs that wait for their turn behind this one, and how long the device needs for them. Default none. */
  readonly waiting?: { readonly runs: number; readonly ms: number } | undefined;
  /** Price of an answer later than `deadlineMs`, in milliseconds. Default 0. */
  readonly missedMs?: number;
  /** Default Infinity. */
  readonly deadlineMs?: number;
}

/** The best moment and its expected results. */
export interface SecondRunPlan {
  /** From now; Infinity if no run begins. */
  readonly waitMs: number;
  /** Expected loss, prices included, in milliseconds. */
  readonly cost: number;
  /** Chance that the run begins, and chance that it is in vain. */
  readonly begins: number;
  readonly inVain: number;
}

const none = { runs: 0, ms: 0 } as const;
const evenWeights = new Float64Array(estimateSize).fill(1 / estimateSize);
const weightsWithTail = Float64Array.of(...evenWeights.subarray(1), ...tailWeights);

/** Weights of the points of a belief. The tail, if known, replaces the last value. */
export function pointWeights({ tail }: Estimate): Float64Array {
  return tail ? weightsWithTail : evenWeights;
}

/** A point of a belief. */
export function pointOf({ values, tail }: Estimate, index: number): number {
  return (tail && index >= estimateSize - 1 ? tail[index - estimateSize + 1] : values[index]) ?? 0;
}

/** Cost of an answer `ms` from now. */
export function costOfAnswer(question: SecondRunQuestion, ms: number): number {
  const { loss, passedMs, missedMs = 0, deadlineMs = Infinity } = question;
  return lossOf(loss, passedMs + ms) - passedMs + (ms > deadlineMs ? missedMs : 0);
}

/**
 * The best moment. Between two points of the belief an earlier moment is no worse, so only the first possible moment and the later points
 * can be best. A moment behind the last point never comes.
 */
export function planSecondRun(question: SecondRunQuestion): SecondRunPlan {
  const { remoteMs, runMs, freeMs, price, charged, device, loss, waiting = none } = question;
  const weights = pointWeights(remoteMs);
  const count = weights.length;
  const clearMs = freeMs + waiting.ms;
  const without = device.heldMs(clearMs);
  let first = 0;
  let firstCost = 0;
  let firstWeight = 0;
  let before = 0;
  let beforeWeight = 0;
  let bestMs = Infinity;
  let bestCost = Infinity;
  let bestBegins = 0;
  let bestInVain = 0;
  let latestMs = -1;
  const from = Math.max(0, freeMs);
  /** The delay of others by a run that begins at `waitMs`. Those that wait now have run by `clearMs`, some of them before. */
  const heldMs = (waitMs: number): number => {
    const laterMs = device.heldMs(Math.max(waitMs, clearMs) + runMs);
    if (waitMs >= clearMs) return laterMs;
    return laterMs + ((1 + loss.lateWeight) * waiting.runs * runMs * (clearMs - waitMs)) / waiting.ms;
  };
  for (let index = -1; index < count; index++) {
    const waitMs = Math.max(from, index < 0 ? 0 : pointOf(remoteMs, index));
    if (waitMs <= latestMs) continue;
    latestMs = waitMs;
    const endMs = waitMs + runMs;
    for (; before < count && pointOf(remoteMs, before) <= waitMs; before++)
      beforeWeight += weights[before] ?? 0;
    for (; first < count && pointOf(remoteMs, first) <= endMs; first++) {
      const weight = weights[first] ?? 0;
      firstCost += weight * costOfAnswer(question, pointOf(remoteMs, first));
      firstWeight += weight;
    }
    const begins = Math.max(0, 1 - beforeWeight);
    const inVain = Math.max(0, firstWeight - beforeWeight);
    const rescued = Math.max(0, 1 - firstWeight);
    const cost =
      firstCost +
      // A case with no chance costs nothing, however late it would be.
      (rescued > 0 ? rescued * costOfAnswer(question, endMs) : 0) +
      price * runMs * (charged === "all" ? begins : inVain) +
      (begins > 0 ? begins * (heldMs(waitMs) - without) : 0);
    if (index >= 0 && cost >= bestCost) continue;
    bestMs = before >= count ? Infinity : waitMs;
    bestCost = cost;
    bestBegins = begins;
    bestInVain = inVain;
  }
  return { waitMs: bestMs, cost: bestCost, begins: bestBegins, inVain: bestInVain };
}
