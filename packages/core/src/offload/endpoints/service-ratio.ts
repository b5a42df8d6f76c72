import type { Offer } from "../../wire/endpoint/index.ts";
import type { RatioSpread } from "../../decide/table/index.ts";
import { type Estimate, estimateSize, meanOf, tailRatios } from "../../words/estimate/index.ts";
import { type Regimes, regimes } from "./regimes.ts";

/**
 * Measured run time of an endpoint divided by its promise. Observations correct promises: an endpoint that claims one millisecond and takes
 * three hundred is charged three hundred after the first answer. The correction fades with time, so that a formerly slow endpoint is tried
 * again.
 */
export interface ServiceRatio {
  /** Records the time of a request that was sent at `sentAtMs` (now) under a promise; `of` identifies the content. */
  seen(tookMs: number, promisedMs: number, nowMs: number, sentAtMs?: number, of?: string): void;
  /** Records a new promise, `factor` times the previous one for the same work. `of` identifies the content, whose growth adds up. */
  promised(factor: number, nowMs: number, of?: string): void;
  /** Factor for promised times; 1 before the first observation. */
  ratio(nowMs: number): number;
  /** All factors that are believed possible; undefined while `ratio` says enough. */
  spread(nowMs: number): RatioSpread | undefined;
  /** Whether `servedMs` is longer than a run with this promise takes, by the runs that ended. */
  exceeds(servedMs: number, promisedMs: number, nowMs: number): boolean;
  /**
   * The rest of a run with this promise, of which `servedMs` have passed, if that is longer than such a run takes; undefined otherwise. The
   * factor takes such a run into account until a run ends.
   */
  overdue(servedMs: number, promisedMs: number, nowMs: number): Estimate | undefined;
  /** Records a run of at least `servedMs` whose end is not known, and which is no longer than believed: it has not become quick. */
  lasted(servedMs: number, promisedMs: number, nowMs: number): void;
  /** Starts from the factor of an earlier process, `ageMs` old. Nothing may have been seen. */
  remember(ratio: number, ageMs: number, nowMs: number): void;
}

/** How far promises are off, as a standard deviation of the logarithm: most are honest. */
const promiseVariance = 0.25 ** 2;
/** Variance of runs at one endpoint before it is known. */
const firstVariance = 0.25 ** 2;
/** The least variance that is believed. */
const leastVariance = 0.1 ** 2;
/** Runs over which mean and variance are learned in the long run. */
const longRuns = 100;
/** A deviation by more standard deviations than this means a change, not another input. */
const outlying = 4;
/** Variance of the belief after a run that is far slower than promised: that run is nearly believed. A faster one has to repeat. */
const jumpVariance = 1;
/** Page's test: how many standard deviations of drift in one direction are a change, beyond half of one for each run. */
const drift = 8;
/** Runs after which a change is complete. */
const settledRuns = 3;
/** A change by less than this factor, as a logarithm, is no jump. */
const leastJump = Math.log(1.5);
/** The chance of a jump is at least this for a run that is overdue: the first jump comes without any before. */
const leastJumpRatio = 0.005;
/** A smaller chance of a jump changes no plan. */
const jumpsMatter = 1 / 128;
/** The chance, after a jump, that the endpoint is slower than ever. */
const slowestRatio = 1 / 64;
/** An overdue run is forgotten after this time, in milliseconds: its end was not told. */
const overdueHoldsMs = 5000;
/** A spread is computed again after this time, in milliseconds: the chance of a jump grows slowly. */
const spreadHoldsMs = 250;
/** Points of the run times at one level. */
const levelPoints = 6;
/** A remembered level is read this far above and below, as a logarithm. */
const levelWidth = 0.1;
/** Slope of the logistic distribution that is nearest to the normal one. */
const logisticSlope = 1.702;
/** This many runs are remembered for the whole half-life. Fewer runs are forgotten sooner, and the endpoint is tried again. */
const provenRuns = 20;

/** Starts with trust in the promises. */
export function serviceRatio(halfLifeMs = 30_000): ServiceRatio {
  return new RatioFilter(halfLifeMs);
}

/** No promise of any content. */
const nothing: ReadonlyMap<string, never> = new Map<string, never>();

/**
 * A Kalman filter of one number, the logarithm of the factor, up to a factor of 1,000. Half of it is forgotten in `halfLifeMs`. It starts
 * with trust in the promise, learns the variance of runs, and restarts after an outlier or a drift (E. S. Page 1954, "Continuous inspection
 * schemes"). A plain moving average is either quick, and each large input sends the next requests elsewhere, or slow, and an endpoint that
 * became slow is believed for long.
 *
 * An endpoint that learns from its own runs corrects its promises by the same runs. Charged with both corrections it would seem to take the
 * square of its slowness, and with few requests there the error would not be noticed.
 */
class RatioFilter implements ServiceRatio {
  readonly #halfLifeMs: number;
  #log = 0;
  #noted = 0;
  #runs = 0;
  #doubt = promiseVariance;
  #variance = firstVariance;
  #up = 0;
  #down = 0;
  /**
   * Growth of the promises of each content since the last run, as a logarithm. An endpoint that slows down raises all promises by the same
   * factor; the largest counts. Undefined before the first.
   */
  #grown: Map<string, number> | undefined;
  /** The most of them that is growth, and the least that is shrinking; 0 for none. */
  #most = 0;
  #least = 0;
  /** The last growth of each content, and its time. Undefined before the first. */
  #last: Map<string, { readonly factor: number; readonly atMs: number }> | undefined;

  /** Made with the first jump: most endpoints never jump. */
  #regimes: Regimes | undefined;
  #firstMs = NaN;
  /** The direction of the last change: -1, 0 or 1. */
  #lastChange = 0;
  /** When the level was last seen to be true. */
  #trueAtMs = -Infinity;
  /** A run under way that lasts longer than runs did. */
  #overdue: { readonly promisedMs: number; readonly beganMs: number } | undefined;
  #spread: RatioSpread | undefined;
  #spreadAtMs = -Infinity;

  constructor(halfLifeMs: number) {
    this.#halfLifeMs = halfLifeMs;
  }

  #faded(nowMs: number): number {
    if (this.#log === 0) return 0;
    const share = this.#log > 1 ? 1 : Math.min(1, Math.max(0.1, this.#runs / provenRuns));
    return this.#log * 0.5 ** (Math.max(0, nowMs - this.#noted) / (this.#halfLifeMs * share));
  }

  /** The part of the observed factor that newer promises do not include yet. Promises that moved the other way change nothing. */
  #left(nowMs: number): number {
    const log = this.#faded(nowMs);
    return log > 0 ? Math.max(0, log - this.#most) : Math.min(0, log - this.#least);
  }

  seen(tookMs: number, madeMs: number, nowMs: number, sentAtMs: number = nowMs, of = ""): void {
    if (!(tookMs > 0) || !(madeMs > 0)) return;
    const before = this.#left(nowMs);
    if (Number.isNaN(this.#firstMs)) this.#firstMs = nowMs;
    this.#overdue = undefined;
    this.#spreadAtMs = -Infinity;
    const { factor, atMs } = (this.#last ?? nothing).get(of) ?? { factor: 1, atMs: -Infinity };
    const promisedMs = sentAtMs < atMs ? madeMs * factor : madeMs;
    this.#grown?.clear();
    this.#most = this.#least = 0;
    // Differences below a millisecond say nothing about an endpoint, and short runs say nothing about long ones.
    const away = Math.log((tookMs + 1) / (promisedMs + 1)) - before;
    const noise = 1 / (promisedMs + 1) ** 2;
    const deviation = away / Math.sqrt(this.#variance + noise);
    this.#up = Math.max(0, this.#up + deviation - 0.5);
    this.#down = Math.max(0, this.#down - deviation - 0.5);
    const drifted = this.#up > drift || this.#down > drift;
    const changed = Math.abs(deviation) > outlying || drifted;
    if (changed) {
      const runs = this.#runs;
      this.#runs = 0;
      const isKnown = this.#regimes?.knows(before + away) === true;
      this.#doubt = away > 1 || isKnown ? jumpVariance : promiseVariance;
      // The first run shows how good the promise is. The next ones may complete a change that one run did not prove.
      const onward = Math.sign(away) === this.#lastChange && (drifted || runs < settledRuns);
      const isNew = runs > 0 && !onward;
      this.#lastChange = Math.sign(away);
      // Compared with what was seen: what has faded since is no jump.
      if (isNew && Math.abs(before + away - this.#log) > leastJump)
        (this.#regimes ??= regimes(this.#firstMs)).jumped(this.#log, before + away, nowMs);
      // The old variance was part of the change: with it new runs would count little for dozens of runs.
      if (drifted) this.#variance = firstVariance;
      this.#up = 0;
      this.#down = 0;
    } else {
      const seen = Math.max(0, away ** 2 - noise);
      const next = this.#variance + (seen - this.#variance) / Math.min(longRuns, this.#runs + 4);
      this.#variance = Math.max(leastVariance, next);
    }
    const gain = this.#doubt / (this.#doubt + this.#variance + noise);
    this.#doubt = (1 - gain) * this.#doubt + this.#variance / longRuns ** 2;
    this.#runs++;
    this.#log = Math.max(-3, Math.min(6.9, before + gain * away));
    this.#noted = this.#trueAtMs = nowMs;
  }

  promised(factor: number, nowMs: number, of = ""): void {
    if (!(factor > 0) || factor === 1) return;
    const grown = (this.#grown ??= new Map());
    const last = (this.#last ??= new Map());
    grown.set(of, (grown.get(of) ?? 0) + Math.log(factor));
    forgetFirst(grown);
    this.#most = Math.max(0, ...grown.values());
    this.#least = Math.min(0, ...grown.values());
    last.delete(of);
    last.set(of, { factor, atMs: nowMs });
    forgetFirst(last);
  }

  ratio(nowMs: number): number {
    const log = this.#left(nowMs);
    if (!this.#overdue) return Math.exp(log);
    const { promisedMs, beganMs } = this.#overdue;
    const servedMs = nowMs - beganMs;
    if (servedMs > overdueHoldsMs || !this.exceeds(servedMs, promisedMs, nowMs)) return Math.exp(log);
    const { mean, jumpedRatio } = this.#rest(servedMs, promisedMs, log, nowMs);
    return jumpedRatio > 0.5 ? (servedMs + mean) / promisedMs : Math.exp(log);
  }

  lasted(servedMs: number, promisedMs: number, nowMs: number): void {
    if (!this.#regimes) return;
    const { levels, weights } = this.#regimes.next(this.#left(nowMs));
    let quicker = 0;
    for (const [index, log] of levels.entries())
      if (promisedMs * Math.exp(log) < servedMs) quicker += weights[index] ?? 0;
    if (quicker < 0.5) return;
    this.#noted = this.#trueAtMs = nowMs;
    this.#spreadAtMs = -Infinity;
  }

  exceeds(servedMs: number, promisedMs: number, nowMs: number): boolean {
    return servedMs > promisedMs * Math.exp(this.#left(nowMs));
  }

  overdue(servedMs: number, promisedMs: number, nowMs: number): Estimate | undefined {
    if (!(promisedMs > 0) || !this.exceeds(servedMs, promisedMs, nowMs)) return undefined;
    const beganMs = nowMs - servedMs;
    if (!(this.#overdue && this.#overdue.beganMs <= beganMs)) this.#overdue = { promisedMs, beganMs };
    const { values } = this.#rest(servedMs, promisedMs, this.#left(nowMs), nowMs);
    return { values, observedAtMs: nowMs, origin: "measured" };
  }

  /** The rest of a run that lasts longer than usual at this level, and the chance that it runs at another one. */
  #rest(
    servedMs: number,
    promisedMs: number,
    level: number,
    nowMs: number,
  ): RatioSpread & { readonly jumpedRatio: number } {
    const usualMs = promisedMs * Math.exp(level);
    const deviation = Math.sqrt(this.#variance + this.#doubt + 1 / (promisedMs + 1) ** 2);
    const slope = logisticSlope / deviation;
    const ended = this.#regimes?.endedRatio(level, nowMs - this.#trueAtMs, nowMs) ?? 0;
    const jumps = Math.max(leastJumpRatio, ended);
    const lastsRatio = 1 / (1 + (servedMs / usualMs) ** slope);
    const lasts = (1 - jumps) * lastsRatio;
    const points: Point[] = [];
    for (let point = 0; point < levelPoints; point++) {
      const beyond = (lastsRatio * (point + 0.5)) / levelPoints;
      const endMs = usualMs * (1 / beyond - 1) ** (1 / slope);
      points.push({ value: Math.max(0, endMs - servedMs), weight: lasts / levelPoints });
    }
    let jumped = 0;
    const add = (endMs: number, weight: number): void => {
      if (endMs <= servedMs) return;
      points.push({ value: endMs - servedMs, weight });
      jumped += weight;
    };
    const { levels, weights } = (this.#regimes ?? regimes(nowMs)).next(level);
    for (const [index, log] of levels.entries()) {
      const weight = (jumps * (weights[index] ?? 0)) / 2;
      add(promisedMs * Math.exp(log - levelWidth), weight);
      add(promisedMs * Math.exp(log + levelWidth), weight);
    }
    add(2 * servedMs, jumps * slowestRatio);
    return { ...quantiles(points), jumpedRatio: jumped / (jumped + lasts) };
  }

  spread(nowMs: number): RatioSpread | undefined {
    if (!this.#regimes || this.#overdue) return undefined;
    if (nowMs - this.#spreadAtMs < spreadHoldsMs) return this.#spread;
    this.#spreadAtMs = nowMs;
    this.#spread = undefined;
    const level = this.#left(nowMs);
    const jumps = this.#regimes.endedRatio(level, nowMs - this.#trueAtMs, nowMs);
    if (jumps < jumpsMatter) return undefined;
    const { levels, weights } = this.#regimes.next(level);
    const points: Point[] = [{ value: Math.exp(level), weight: 1 - jumps }];
    for (const [index, log] of levels.entries())
      points.push({ value: Math.exp(log), weight: jumps * (weights[index] ?? 0) });
    return (this.#spread = quantiles(points));
  }

  remember(ratio: number, ageMs: number, nowMs: number): void {
    if (!(ratio > 0)) return;
    const log = Math.max(-3, Math.min(6.9, Math.log(ratio)));
    this.#log = log * 0.5 ** (Math.max(0, ageMs) / this.#halfLifeMs);
    this.#noted = nowMs;
  }
}

/** A value with its weight. */
interface Point {
  readonly value: number;
  readonly weight: number;
}

/** The mean of weighted points, the means of 16 equal slices of them, and the points at the ratios of a tail. */
function quantiles(points: Point[]): RatioSpread {
  points.sort((one, other) => one.value - other.value);
  const total = points.reduce((sum, { weight }) => sum + weight, 0);
  const values = new Float64Array(estimateSize);
  const tail = new Float64Array(tailRatios.length);
  const slice = total / estimateSize;
  let from = 0;
  let mean = 0;
  for (const { value, weight } of points) {
    const to = from + weight;
    mean += (value * weight) / total;
    for (let index = Math.floor(from / slice); index < estimateSize; index++) {
      const part = Math.min(to, (index + 1) * slice) - Math.max(from, index * slice);
      if (part <= 0) break;
      values[index] = (values[index] ?? 0) + (value * part) / slice;
    }
    for (const [index, ratio] of tailRatios.entries()) if (ratio * total > from) tail[index] = value;
    from = to;
  }
  return { mean, values, tail };
}

/** The most offers of one endpoint whose last promise is kept, and the most contents whose growth is kept. The oldest are dropped. */
const mostPromises = 1024;

function forgetFirst(promises: Map<string, unknown>): void {
  for (const key of promises.keys()) {
    if (promises.size <= mostPromises) break;
    promises.delete(key);
  }
}

/** Growth of the promises of an endpoint. */
export interface PromiseGrowth {
  /** The median factor of offers over the previous ones of the same runs, without queues; 1 if none was offered before. */
  factor(offers: readonly Offer[]): number;
}

/** Starts without promises. */
export function promiseGrowth(): PromiseGrowth {
  return new LastPromises();
}

/** A model and its versions are polled separately and offer the same runs, which count once. */
class LastPromises implements PromiseGrowth {
  /** Undefined before the first. */
  #last: Map<string, number> | undefined;

  factor(offers: readonly Offer[]): number {
    const last = (this.#last ??= new Map());
    const factors: number[] = [];
    for (const offer of offers) {
      const key = keyOf(offer);
      const factor = runMs(offer) / (last.get(key) ?? NaN);
      if (factor > 0 && factor < Infinity) factors.push(factor);
      last.delete(key);
      last.set(key, runMs(offer));
    }
    forgetFirst(last);
    factors.sort((a, b) => a - b);
    return factors[Math.floor(factors.length / 2)] ?? 1;
  }
}

const runMs = ({ completionMs, queueMs }: Offer): number => meanOf(completionMs) - queueMs;
const keyOf = ({ segment, path, upTo }: Offer): string =>
  JSON.stringify([segment.digest, segment.variant, segment.from, segment.to, path, upTo]);
