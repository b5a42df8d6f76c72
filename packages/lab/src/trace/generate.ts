/**
 * Made-up links, seeded and labelled synthetic: for tests, demos and first impressions. Their parameters copy the shape
 * of recorded links (rate, spread, length and frequency of stalls), not any one of them.
 */
import { type Random, seededRandom } from "@longshore/core";
import { exponential, gaussian } from "@longshore/core/internal";
import { meanBitsPerSecond, packetTrace, type RateEntry, rateTrace, type Trace } from "./trace.ts";

/** How a made-up link behaves. */
export interface LinkShape {
  readonly meanBitsPerSecond: number;
  /** Standard deviation of the logarithm of the rate. */
  readonly logSpread: number;
  /** Time after which the rate has forgotten where it was, in milliseconds. */
  readonly memoryMs: number;
  /** Stalls: how often one begins while the link is on, and how long it lasts on average. */
  readonly stallsPerSecond: number;
  readonly stallMeanMs: number;
  /** Stalls are cut off at this length; default 8 s. */
  readonly stallMaxMs?: number;
}

/** Shapes with a name. */
export const linkShapes: {
  readonly steady: LinkShape;
  readonly wifi: LinkShape;
  readonly thin: LinkShape;
  readonly stalling: LinkShape;
  readonly drive3g: LinkShape;
} = {
  /** A wire: 50 Mbit/s, hardly moving. */
  steady: { meanBitsPerSecond: 50e6, logSpread: 0.02, memoryMs: 1000, stallsPerSecond: 0, stallMeanMs: 0 },
  /** Good Wi-Fi: fast, moving within a factor of two, with short pauses when others send. */
  wifi: { meanBitsPerSecond: 80e6, logSpread: 0.35, memoryMs: 300, stallsPerSecond: 0.5, stallMeanMs: 25 },
  /** A thin uplink, as of a slow home line: 1.5 Mbit/s. */
  thin: { meanBitsPerSecond: 1.5e6, logSpread: 0.15, memoryMs: 2000, stallsPerSecond: 0, stallMeanMs: 0 },
  /** An LTE-like uplink: 8 Mbit/s on average, wide swings, stalls of a second or so. */
  stalling: {
    meanBitsPerSecond: 8e6,
    logSpread: 0.7,
    memoryMs: 2500,
    stallsPerSecond: 0.06,
    stallMeanMs: 900,
  },
  /** A 3G uplink in a moving car: 1 Mbit/s, stalls of seconds. */
  drive3g: {
    meanBitsPerSecond: 1e6,
    logSpread: 0.4,
    memoryMs: 4000,
    stallsPerSecond: 0.03,
    stallMeanMs: 2500,
  },
};

/** Rates of made-up links are constant within a step. */
export const rateStepMs = 20;

/**
 * A link of that shape: the log-rate is an Ornstein-Uhlenbeck process in steps of 20 ms, packets leave as a Poisson
 * process of that rate (below 40 Mbit/s) or as the rate itself (above, where packets are too many to count), stalls are
 * exponential. Same shape, seed and length: same trace.
 */
export function syntheticTrace(
  shape: LinkShape,
  seed: number,
  lengthMs = 120_000,
  name = "synthetic link",
): Trace {
  const random = seededRandom(seed);
  const entries = rateWalk(shape, lengthMs, random);
  const label = `${name} (synthetic, seed ${seed})`;
  return leavingAtRandom(rateTrace(label, entries, lengthMs, "synthetic"), random);
}

/** The same link, packets leaving as a Poisson process of its rate; above 40 Mbit/s on average left as it is: too many to count. */
export function leavingAtRandom(rates: Trace, random: Random): Trace {
  if (meanBitsPerSecond(rates) > 40e6) return rates;
  const atMs: number[] = [];
  for (let position = exponential(random, 1); position < rates.packets; position += exponential(random, 1)) {
    atMs.push(rates.instantOf(position));
  }
  atMs.push(rates.lengthMs);
  return packetTrace(rates.name, Float64Array.from(atMs), rates.origin);
}

/** An Ornstein-Uhlenbeck process with that standard deviation and memory, a step at each call. */
export function wandering(random: Random, deviation: number, memoryMs: number): () => number {
  const keep = Math.exp(-rateStepMs / memoryMs);
  const noise = deviation * Math.sqrt(1 - keep * keep);
  let level = deviation * gaussian(random);
  return () => {
    level = keep * level + noise * gaussian(random);
    return level;
  };
}

function rateWalk(shape: LinkShape, lengthMs: number, random: Random): readonly RateEntry[] {
  // The mean of a log-normal lies above its median by half the variance.
  const median = shape.meanBitsPerSecond * Math.exp(-(shape.logSpread ** 2) / 2);
  const level = wandering(random, shape.logSpread, shape.memoryMs);
  let stalledMs = 0;
  const entries: RateEntry[] = [];
  for (let fromMs = 0; fromMs < lengthMs; fromMs += rateStepMs) {
    const logRate = level();
    if (stalledMs <= 0 && random.next() < 1 - Math.exp((-shape.stallsPerSecond * rateStepMs) / 1000)) {
      stalledMs = Math.min(shape.stallMaxMs ?? 8000, exponential(random, shape.stallMeanMs));
    }
    const onRatio = Math.max(0, 1 - Math.max(0, stalledMs) / rateStepMs);
    stalledMs -= rateStepMs;
    entries.push({ fromMs, bitsPerSecond: median * Math.exp(logRate) * onRatio });
  }
  return entries;
}
