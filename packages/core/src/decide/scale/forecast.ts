import { Analogs } from "./analogs.ts";

/**
 * How many requests will come when an endpoint that starts now is ready.
 *
 * A moving average lags a rise by its window, and a fitted line runs away after a burst; which of them is right depends on the day. So
 * several of both run side by side. Each states, at every step, the arrivals of a window that begins one cold start later, and is judged
 * when that window has passed. The one with the least error of late is believed, and its error is the spread of the belief: a forecast
 * that was often wrong asks for more endpoints, without a margin that someone has to tune. Once half an hour was seen, what followed situations
 * like the present one is believed instead, where there were such.
 *
 * Two limits keep the spread within what was seen. A forecast of less than one request is not judged: the first requests after silence
 * exceed it by any factor, and such a factor says nothing of the next window. And no rate is believed beyond a fixed multiple of the busiest window.
 *
 * Invariant: nothing but counts that were seen decides, so a replay of the same counts gives the same belief.
 */

/** Length of a step, in milliseconds. */
export const stepMs = 5000;
/** Steps of the window that is forecast: until the next decision takes effect. */
const windowSteps = 3;
/** Length of that window, in milliseconds. */
export const windowMs: number = windowSteps * stepMs;
/** Half-lives of averages and of fitted lines, in steps. */
const averages = [3, 12, 60];
const lines = [12, 36, 120];
/** A line is continued at most by this share of its level, in either direction, and no rate is believed further above the busiest window. */
const mostTrend = 2;
/** Forecasts of fewer requests in a window are not judged. */
const leastJudged = 1;
/** Half-life of the judgement, in steps (10 minutes). */
const judgedSteps = 120;
/** Error of the logarithm before any forecast was judged. */
const firstError = 0.35;
/** Weight, in forecasts, of that first error. */
const firstWeight = 12;
/** Windows of half-life of the dispersion of counts. */
const dispersionWindows = 60;
/** The most that one window counts: an edge of the load is none. */
const mostDispersion = 10;
/** The most steps without any count that are worked off one by one. */
const mostGap = 4000;

const decay = (halfLife: number): number => 0.5 ** (1 / halfLife);

/** One way to continue counts; a line with level and slope by exponentially weighted least squares, or its level alone. */
class Expert {
  readonly #keep: number;
  readonly #isLine: boolean;
  /** Weighted sums of 1, age, age squared, count, and age times count, with the age of the newest step 0. */
  #w = 0;
  #wx = 0;
  #wxx = 0;
  #wy = 0;
  #wxy = 0;
  /** Forecasts of windows that have not passed, the oldest first. */
  readonly #open: number[] = [];
  #squares = firstWeight * firstError ** 2;
  #judged = firstWeight;

  constructor(halfLife: number, isLine: boolean) {
    this.#keep = decay(halfLife);
    this.#isLine = isLine;
  }

  /** Takes in a step. */
  seen(count: number): void {
    const k = this.#keep;
    // Everything known is one step older: x becomes x + 1.
    this.#wxx = k * (this.#wxx + 2 * this.#wx + this.#w);
    this.#wxy = k * (this.#wxy + this.#wy);
    this.#wx = k * (this.#wx + this.#w);
    this.#wy = k * this.#wy + count;
    this.#w = k * this.#w + 1;
  }

  /** Counts a step, `ahead` steps from now. */
  rate(ahead: number): number {
    const level = this.#wy / this.#w;
    if (!this.#isLine) return level;
    const spread = this.#w * this.#wxx - this.#wx ** 2;
    if (spread < 1e-9) return level;
    // Ages grow backwards in time.
    const slope = (this.#w * this.#wxy - this.#wx * this.#wy) / spread;
    const now = (this.#wy - slope * this.#wx) / this.#w;
    return Math.max(0, level / (1 + mostTrend), Math.min(level * (1 + mostTrend), now - slope * ahead));
  }

  /** Judges the forecast of the window that has just passed, and makes one more. */
  judge(actual: number, horizon: number): void {
    const due = horizon + windowSteps - 1;
    if (this.#open.length > due) {
      const forecast = this.#open.shift() ?? 0;
      if (forecast >= leastJudged) this.#judge(forecast, actual);
    }
    this.#open.push(windowSteps * this.rate(horizon + (windowSteps - 1) / 2));
    while (this.#open.length > due + 1) this.#open.shift();
  }

  #judge(forecast: number, actual: number): void {
    const error = Math.log((actual + 1) / (forecast + 1));
    // Chance alone moves counts by this much; waits include it already.
    const chance = 1 / (forecast + 1);
    const keep = decay(judgedSteps);
    // Only requests that were not foreseen have to be provided for; symmetric errors are so half the time.
    this.#squares = keep * this.#squares + (error > 0 ? 2 * Math.max(0, error ** 2 - chance) : 0);
    this.#judged = keep * this.#judged + 1;
  }

  /** Variance of the logarithm of its forecasts. */
  get variance(): number {
    return this.#squares / this.#judged;
  }
}

/** A belief about the arrivals of one model. */
export interface ArrivalForecast {
  /** Counts requests that arrived by now since the last call. */
  seen(count: number, nowMs: number): void;
  /** Requests a second, equally likely values in ascending order, in the window that begins after `aheadMs`. */
  rates(nowMs: number): Float64Array;
  /** How much more counts vary than those of a Poisson process: 1 for such a process, at least 1. */
  readonly dispersion: number;
  /** Requests a second of the last quarter of a minute. */
  readonly now: number;
}

/** Equally likely values of a standard normal distribution (32, by their middles). */
const normal: readonly number[] = [
  -2.1539, -1.6759, -1.4178, -1.2299, -1.0775, -0.9468, -0.8305, -0.7245, -0.6261, -0.5334, -0.4451, -0.3601,
  -0.2777, -0.1971, -0.1178, -0.0392, 0.0392, 0.1178, 0.1971, 0.2777, 0.3601, 0.4451, 0.5334, 0.6261, 0.7245,
  0.8305, 0.9468, 1.0775, 1.2299, 1.4178, 1.6759, 2.1539,
];

/** Starts without arrivals. `aheadMs` is read at each step: how long an endpoint takes to start. */
export function arrivalForecast(aheadMs: () => number): ArrivalForecast {
  const experts = [
    ...averages.map((halfLife) => new Expert(halfLife, false)),
    ...lines.map((halfLife) => new Expert(halfLife, true)),
  ];
  const analogs = new Analogs();
  const recent: number[] = [];
  /** The last two windows, and the steps that were closed. */
  const windows: number[] = [];
  let closed = 0;
  const keepDispersion = decay(dispersionWindows);
  let squares = 20;
  let weight = 20;
  let step: number | undefined;
  let count = 0;
  let lastMs = -Infinity;
  /** Requests of the busiest window; fades as the judgement does. */
  let busiest = 0;

  const close = (): void => {
    const horizon = Math.max(1, Math.ceil(aheadMs() / stepMs));
    recent.push(count);
    if (recent.length > windowSteps) recent.shift();
    const window = recent.reduce((sum, one) => sum + one, 0);
    busiest = Math.max(window, decay(judgedSteps) * busiest);
    for (const expert of experts) {
      expert.seen(count);
      expert.judge(window, horizon);
    }
    if (++closed % windowSteps === 0) {
      analogs.seen(window, Math.max(1, Math.round(horizon / windowSteps)));
      // A window against the mean of its neighbours: a steady rise, which the forecast answers for, is no dispersion.
      const [before, middle] = windows;
      if (before !== undefined && middle !== undefined && before + middle + window > 0) {
        const off = (2 * (middle - (before + window) / 2) ** 2) / (before + middle + window);
        squares = keepDispersion * squares + Math.min(mostDispersion, off);
        weight = keepDispersion * weight + 1;
      }
      windows.push(window);
      if (windows.length > 2) windows.shift();
    }
    count = 0;
  };
  /** Closes the steps before `nowMs`; `more` requests came evenly since the last call, which may be several steps ago. */
  const upTo = (nowMs: number, more = 0): void => {
    const now = Math.floor(nowMs / stepMs);
    step ??= now;
    if (now - step > mostGap) {
      step = now - mostGap;
      lastMs = step * stepMs;
    }
    const perMs = nowMs > lastMs ? more / (nowMs - lastMs) : 0;
    for (; step < now; step++) {
      const endMs = (step + 1) * stepMs;
      count += perMs * Math.max(0, endMs - lastMs);
      lastMs = Math.max(lastMs, endMs);
      close();
    }
    count += perMs > 0 ? perMs * (nowMs - lastMs) : more;
    lastMs = nowMs;
  };

  return {
    seen(more, nowMs) {
      upTo(nowMs, more);
    },
    rates(nowMs) {
      upTo(nowMs);
      if (recent.length === 0) return new Float64Array(normal.length).fill((1000 * count) / stepMs);
      let best = experts[0];
      for (const one of experts) if (best && one.variance < best.variance) best = one;
      const horizon = Math.max(1, Math.ceil(aheadMs() / stepMs));
      const rate = ((best?.rate(horizon + (windowSteps - 1) / 2) ?? 0) * 1000) / stepMs;
      const deviation = Math.sqrt(best?.variance ?? 0);
      const bound = ((1 + mostTrend) * (busiest + 1) * 1000) / (windowSteps * stepMs);
      const like = analogs.coming();
      if (like) {
        return Float64Array.from(normal, (_none, at) => {
          const requests = like[Math.floor(((at + 0.5) / normal.length) * like.length)] ?? 0;
          return Math.min(bound, (1000 * requests) / (windowSteps * stepMs));
        });
      }
      const most = Math.max(rate, bound);
      return Float64Array.from(normal, (z) => Math.min(most, rate * Math.exp(deviation * z)));
    },
    get dispersion() {
      return Math.max(1, squares / weight);
    },
    get now() {
      const sum = recent.reduce((total, one) => total + one, 0);
      return recent.length === 0 ? (1000 * count) / stepMs : (1000 * sum) / (stepMs * recent.length);
    },
  };
}
