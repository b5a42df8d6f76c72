import type { ScaleObjective } from "./objective.ts";

/** The belief about the requests of a model, and about one endpoint that serves them. */
export interface ScaleInputs {
  /** Requests a second, equally likely values. */
  readonly rates: Float64Array;
  /** How much more arrivals vary than those of a Poisson process; at least 1. */
  readonly dispersion: number;
  /** Run times at an endpoint without the wait, in milliseconds: equally likely values. */
  readonly runMs: Float64Array;
  /** Times to an answer when no request waits, network included: equally likely values. */
  readonly aloneMs: Float64Array;
  /** Requests that an endpoint runs at a time; shared runs count as several. */
  readonly slots: number;
  /** The greatest number of endpoints that may be requested. */
  readonly most: number;
}

/** The prediction for a number of endpoints. */
export interface ScalePrediction {
  /** Share of requests later than the objective's latency; 0 without one. */
  readonly lateRatio: number;
  /** Share that misses the deadline; 0 without one. */
  readonly missRatio: number;
}

/** The fewest endpoints that keep an objective. */
export interface Needed {
  readonly endpoints: number;
  /** False: no number keeps it, since a request takes too long even alone, or `most` is too few. */
  readonly met: boolean;
  readonly predicted: ScalePrediction;
}

/** Mean, and the square of the coefficient of variation. */
function momentsOf(values: Float64Array): { readonly mean: number; readonly variation: number } {
  let sum = 0;
  let squares = 0;
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  const mean = sum / values.length;
  return { mean, variation: mean > 0 ? Math.max(0, squares / values.length / mean ** 2 - 1) : 0 };
}

/**
 * Probability that all `slots` of a loss system are busy at an offered load of `load` busy slots (A. K. Erlang 1917), by its recursion.
 */
export function blockingRatio(slots: number, load: number): number {
  let probability = 1;
  for (let n = 1; n <= slots; n++) probability = (load * probability) / (n + load * probability);
  return probability;
}

/** Without a deadline, requests are taken to give up after this many times the latency of the objective. */
const patience = 10;

/**
 * The wait at `slots` slots, if requests that would wait longer than `mostMs` are refused, as servers do at admission: the probability that
 * it is above a time of at most `mostMs`.
 *
 * The virtual wait of such a queue has the density `f exp(-ends v)` up to `mostMs`, `ends` being the slots' rate less the arrivals', and falls
 * with the slots' rate alone beyond, where nothing is admitted (level crossings; D. Y. Barrer 1957, "Queuing with impatient customers and
 * indifferent clerks"). It holds in overload, too, where `ends` is negative. For general arrivals and runs both rates are divided by
 * `(ca + cs) / 2`, as in the approximation of A. O. Allen (1990, "Probability, Statistics, and Queueing Theory") for queues without refusals.
 */
export function waitAbove(
  slots: number,
  rate: number,
  runMs: number,
  spread: number,
  mostMs: number,
): (ms: number) => number {
  if (slots < 1) return () => (rate > 0 ? 1 : 0);
  const first = rate * blockingRatio(slots - 1, rate * runMs);
  const served = slots / runMs / spread;
  const ends = served - rate / spread;
  /** Weight of waits from `fromMs` to `mostMs`. */
  const between = (fromMs: number): number => {
    const lengthMs = mostMs - fromMs;
    const at = first * Math.exp(-ends * fromMs);
    return Math.abs(ends * lengthMs) < 1e-9 ? at * lengthMs : (at * -Math.expm1(-ends * lengthMs)) / ends;
  };
  const refused = (first * Math.exp(-ends * mostMs)) / served;
  const total = 1 + between(0) + refused;
  // Steep overload overflows: then every wait is the longest.
  if (!Number.isFinite(total)) return () => 1;
  return (ms) => (between(Math.max(0, Math.min(ms, mostMs))) + refused) / total;
}

/**
 * Predicts lateness at `endpoints` endpoints. Requests are sent where they wait least, so that the fleet acts as one queue.
 */
export function predictScale(
  inputs: ScaleInputs,
  endpoints: number,
  objective: ScaleObjective,
): ScalePrediction {
  const { rates, dispersion, runMs, aloneMs } = inputs;
  const { mean, variation } = momentsOf(runMs);
  const spread = Math.max(0.1, (dispersion + variation) / 2);
  const slots = Math.floor(endpoints * inputs.slots + 1e-9);
  const { latency, misses } = objective;
  const boundMs = misses?.deadlineMs ?? patience * (latency?.withinMs ?? 0);
  const usualMs = aloneMs.reduce((sum, one) => sum + one, 0) / aloneMs.length;
  const mostMs = Math.max(1, Math.max(boundMs, latency?.withinMs ?? 0) - usualMs);
  let [lateRatio, missRatio] = [0, 0];
  for (const rate of rates) {
    const above = waitAbove(slots, rate / 1000, mean, spread, mostMs);
    const late = (withinMs: number): number => {
      let sum = 0;
      for (const alone of aloneMs) sum += alone > withinMs ? 1 : rate > 0 ? above(withinMs - alone) : 0;
      return sum / aloneMs.length / rates.length;
    };
    if (latency) lateRatio += late(latency.withinMs);
    if (misses) missRatio += late(misses.deadlineMs);
  }
  return { lateRatio, missRatio };
}

/** Share by which lateness may exceed that of idle endpoints where these alone break the objective. */
const beyondReach = 0.01;

/**
 * The fewest endpoints, at least one, that keep an objective. Where even idle endpoints break it, the fewest that come within a hundredth of
 * the requests of what idle ones would do: more would not help.
 */
export function neededEndpoints(inputs: ScaleInputs, objective: ScaleObjective): Needed {
  const { latency, misses } = objective;
  const idle = predictScale({ ...inputs, rates: new Float64Array(1) }, 1, objective);
  const mostLate = latency ? 1 - latency.ratio + 1e-9 : 1;
  const mostMissed = misses ? misses.ratio + 1e-9 : 1;
  const reachable = idle.lateRatio <= mostLate && idle.missRatio <= mostMissed;
  const lateLimit = Math.max(mostLate, idle.lateRatio > mostLate ? idle.lateRatio + beyondReach : 0);
  const missLimit = Math.max(mostMissed, idle.missRatio > mostMissed ? idle.missRatio + beyondReach : 0);
  const keeps = ({ lateRatio, missRatio }: ScalePrediction): boolean =>
    lateRatio <= lateLimit && missRatio <= missLimit;
  let [low, high] = [1, Math.max(1, inputs.most)];
  const last = predictScale(inputs, high, objective);
  if (!keeps(last)) return { endpoints: high, met: false, predicted: last };
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (keeps(predictScale(inputs, middle, objective))) high = middle;
    else low = middle + 1;
  }
  return { endpoints: low, met: reachable, predicted: predictScale(inputs, low, objective) };
}
