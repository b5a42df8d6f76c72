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
/** Page's test: how many standard deviations of drift in one direction are a change, beyond half of one for each run. */
const drift = 8;
/** This many runs are remembered for the whole half-life. Fewer runs are forgotten sooner, and the endpoint is tried again. */
const provenRuns = 20;

/**
 * A Kalman filter of one number, the logarithm of the factor, up to a factor of 1,000. Half of it is forgotten in `halfLifeMs`. It starts
 * with trust in the promise, learns the variance of runs, and restarts after an outlier or a drift (E. S. Page 1954, "Continuous inspection
 * schemes"). A plain moving average is either quick, and each large input sends the next requests elsewhere, or slow, and an endpoint that
 * became slow is believed for long.
 *
 * An endpoint that learns from its own runs corrects its promises by the same runs. Charged with both corrections it would seem to take the
 * square of its slowness, and with few requests there the error would not be noticed.
 */
export function serviceRatio(halfLifeMs = 30_000): ServiceRatio {
  let log = 0;
  let noted = 0;
  let runs = 0;
  let doubt = promiseVariance;
  let variance = firstVariance;
  let up = 0;
  let down = 0;
  /**
   * Growth of the promises of each content since the last run, as a logarithm. An endpoint that slows down raises all promises by the same
   * factor; the largest counts.
   */
  const grown = new Map<string, number>();
  /** The most of them that is growth, and the least that is shrinking; 0 for none. */
  let most = 0;
  let least = 0;
  /** The last growth of each content, and its time. */
  const last = new Map<string, { readonly factor: number; readonly atMs: number }>();
  const faded = (nowMs: number): number => {
    if (log === 0) return 0;
    const halfMs = halfLifeMs * (log > 1 ? 1 : Math.min(1, Math.max(0.1, runs / provenRuns)));
    return log * 0.5 ** (Math.max(0, nowMs - noted) / halfMs);
  };
  /** The part of the observed factor that newer promises do not include yet. Promises that moved the other way change nothing. */
  const left = (nowMs: number): number => {
    const log = faded(nowMs);
    return log > 0 ? Math.max(0, log - most) : Math.min(0, log - least);
  };
  return {
    seen(tookMs, madeMs, nowMs, sentAtMs = nowMs, of = "") {
      if (!(tookMs > 0) || !(madeMs > 0)) return;
      const before = left(nowMs);
      const { factor, atMs } = last.get(of) ?? { factor: 1, atMs: -Infinity };
      const promisedMs = sentAtMs < atMs ? madeMs * factor : madeMs;
      if (grown.size > 0) grown.clear();
      most = least = 0;
      // Differences below a millisecond say nothing about an endpoint, and short runs say nothing about long ones.
      const away = Math.log((tookMs + 1) / (promisedMs + 1)) - before;
      const noise = 1 / (promisedMs + 1) ** 2;
      const deviation = away / Math.sqrt(variance + noise);
      up = Math.max(0, up + deviation - 0.5);
      down = Math.max(0, down - deviation - 0.5);
      const drifted = up > drift || down > drift;
      const changed = Math.abs(deviation) > outlying || drifted;
      if (changed) {
        runs = 0;
        doubt = promiseVariance;
        // The old variance was part of the change: with it new runs would count little for dozens of runs.
        if (drifted) variance = firstVariance;
        up = 0;
        down = 0;
      } else {
        const seen = Math.max(0, away ** 2 - noise);
        variance = Math.max(leastVariance, variance + (seen - variance) / Math.min(longRuns, runs + 4));
      }
      const gain = doubt / (doubt + variance + noise);
      doubt = (1 - gain) * doubt + variance / longRuns ** 2;
      runs++;
      // A run far slower than promised is believed at once; a faster one has to repeat.
      const weight = changed && away > 1 ? 0.7 : gain;
      log = Math.max(-3, Math.min(6.9, before + weight * away));
      noted = nowMs;
    },
    promised(factor, nowMs, of = "") {
      if (!(factor > 0) || factor === 1) return;
      grown.set(of, (grown.get(of) ?? 0) + Math.log(factor));
      forgetFirst(grown);
      most = Math.max(0, ...grown.values());
      least = Math.min(0, ...grown.values());
      last.delete(of);
      last.set(of, { factor, atMs: nowMs });
      forgetFirst(last);
    },
    ratio: (nowMs) => Math.exp(left(nowMs)),
    remember(ratio, ageMs, nowMs) {
      if (!(ratio > 0)) return;
      log = Math.max(-3, Math.min(6.9, Math.log(ratio))) * 0.5 ** (Math.max(0, ageMs) / halfLifeMs);
      noted = nowMs;
    },
  };
}

/** The most offers of one endpoint whose last promise is kept, and the most contents whose growth is kept. The oldest are dropped. */
const mostPromises = 1024;

function forgetFirst(promises: Map<string, unknown>): void {
  for (const key of promises.keys()) {
    if (promises.size <= mostPromises) break;
    promises.delete(key);
  }
}

/**
 * Compares each list of offers of an endpoint with its previous promises. Returns the median factor over all offers, without queues; 1 if
 * none was offered before. A model and its versions are polled separately and offer the same runs, which count once.
 */
export function promiseGrowth(): (offers: readonly Offer[]) => number {
  const last = new Map<string, number>();
  return (offers) => {
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
  };
}

const runMs = ({ completionMs, queueMs }: Offer): number => meanOf(completionMs) - queueMs;
const keyOf = ({ segment, path, upTo }: Offer): string =>
  JSON.stringify([segment.digest, segment.variant, segment.from, segment.to, path, upTo]);
