import type { Offer } from "../../wire/endpoint/index.ts";
import { meanOf } from "../../words/estimate/index.ts";

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
      this.#runs = 0;
      this.#doubt = away > 1 ? jumpVariance : promiseVariance;
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
    this.#noted = nowMs;
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
    return Math.exp(this.#left(nowMs));
  }

  remember(ratio: number, ageMs: number, nowMs: number): void {
    if (!(ratio > 0)) return;
    const log = Math.max(-3, Math.min(6.9, Math.log(ratio)));
    this.#log = log * 0.5 ** (Math.max(0, ageMs) / this.#halfLifeMs);
    this.#noted = nowMs;
  }
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
