/**
 * When a run here should begin beside a request that was sent away: one formula for the moment before it is late and after.
 *
 * The obvious rule, a timer at some quantile, ignores what the run itself costs: time of a device that others need, and often
 * nothing gained because the answer comes anyway. So each moment `g` is priced by what it leads to, and the cheapest is taken; the
 * question is asked again as acknowledgements and silence change the belief, and a run begins when now is the cheapest moment.
 *
 *   cost(g) = E[loss(min(R, end))] + price L P(charged) + P(R > g) (held(end) - held(without)),   end = max(g, free) + L
 *
 * R is the answer from afar, L a run here, `free` when the device is. When a request is sent, every second run is charged
 * (R > g); once it is under way, only runs in vain are (g < R <= end): what a run saves is not also held against it.
 */
import { type Estimate, estimateSize, tailWeights } from "../../words/estimate/index.ts";
import type { DevicePrice } from "./device-price.ts";
import { type Loss, lossOf } from "./loss.ts";

/** What is weighed. All times are from now unless said otherwise. */
export interface SecondRunQuestion {
  /** Until the answer from afar. */
  readonly remoteMs: Estimate;
  /** One run here. */
  readonly runMs: number;
  /** Until the device, or the turn of the request in its queue, is free for a second run. */
  readonly freeMs: number;
  /** Since the request came. */
  readonly passedMs: number;
  readonly loss: Loss;
  /** Price of a run beside a remote one, in runs here. */
  readonly price: number;
  /** Which runs it is charged for. */
  readonly charged: "all" | "in-vain";
  readonly device: DevicePrice;
  /** Price of an answer later than `deadlineMs`, in milliseconds. Default 0. */
  readonly missedMs?: number;
  /** Default Infinity. */
  readonly deadlineMs?: number;
}

/** The best moment, and what it leads to. */
export interface SecondRunPlan {
  /** From now; Infinity: none begins. */
  readonly waitMs: number;
  /** Expected loss, prices included, in milliseconds. */
  readonly cost: number;
  /** Chance that the run begins, and that it is in vain. */
  readonly begins: number;
  readonly inVain: number;
}

const evenWeights = new Float64Array(estimateSize).fill(1 / estimateSize);
const weightsWithTail = Float64Array.of(...evenWeights.subarray(1), ...tailWeights);

/** Weights of the points of a belief, its tail in place of the last value where it is known. */
export function pointWeights({ tail }: Estimate): Float64Array {
  return tail ? weightsWithTail : evenWeights;
}

/** A point of a belief. */
export function pointOf({ values, tail }: Estimate, index: number): number {
  return (tail && index >= estimateSize - 1 ? tail[index - estimateSize + 1] : values[index]) ?? 0;
}

/** What an answer `ms` from now costs. */
export function costOfAnswer(question: SecondRunQuestion, ms: number): number {
  const { loss, passedMs, missedMs = 0, deadlineMs = Infinity } = question;
  return lossOf(loss, passedMs + ms) - passedMs + (ms > deadlineMs ? missedMs : 0);
}

/**
 * The best moment. Between two points of the belief an earlier one is no worse, so only the first possible moment and the points
 * behind it can be best. A moment behind the last point never comes.
 */
export function planSecondRun(question: SecondRunQuestion): SecondRunPlan {
  const { remoteMs, runMs, freeMs, price, charged, device } = question;
  const weights = pointWeights(remoteMs);
  const count = weights.length;
  const without = device.heldMs(freeMs);
  let first = 0;
  let firstCost = 0;
  let firstWeight = 0;
  let before = 0;
  let beforeWeight = 0;
  let best: SecondRunPlan | undefined;
  let latestMs = -1;
  const from = Math.max(0, freeMs);
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
      // What has no chance costs nothing, however late it would be.
      (rescued > 0 ? rescued * costOfAnswer(question, endMs) : 0) +
      price * runMs * (charged === "all" ? begins : inVain) +
      (begins > 0 ? begins * (device.heldMs(endMs) - without) : 0);
    if (best && cost >= best.cost) continue;
    best = { waitMs: before >= count ? Infinity : waitMs, cost, begins, inVain };
  }
  return best ?? { waitMs: Infinity, cost: Infinity, begins: 0, inVain: 0 };
}
