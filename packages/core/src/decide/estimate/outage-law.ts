/**
 * How often one link falls silent, and how long its short silences last. Shared air pauses for 30 ms several times in a second, a driving
 * phone for 150 ms every few seconds. With one law for all links, the first would seem lost whenever it pauses, and the second would seem
 * about to return at any moment.
 *
 * The counts are those of expectation and maximisation over the filter's belief, in one forward pass. A silence is judged when it ends: the
 * next packets match either the end of an outage or a slow rate. The watched time includes more than the time under way. A body after a
 * pause also finds outages that began just before it, so each pause counts for at most the length of an outage. A silence ends without
 * judgement if the link is no longer observed. However long a link was quiet, its memory counts at most ten times as much as the model,
 * because the device may have moved.
 *
 * This law moves the modes of the filter and predicts the end of an outage under way. The futures after it, from the moment the link is on,
 * keep the model's law (`completionTable` in `rate-model.ts`), so one table serves all links.
 */
import { type LinkModel, modePowersOf, type OutageKind } from "./rate-model.ts";

/** Belief about the outages of one link. Weights are those of the filter, `[regime, mode, rate]`. */
export interface OutageLaw {
  /** Matrices of the modes for 2^j ticks, like `modePowers` of the model. */
  readonly powers: readonly Float64Array[];
  /** Mean length of the outage of a mode (1 or more), in milliseconds. */
  meanMs(mode: number): number;
  /** Lets `ticks` ticks pass. Call it before the weights move. */
  pass(weights: Float64Array, ticks: number): void;
  /** Records `packets` within `busyMs` of known work, with log-likelihoods by rate. Call it before the weights change. */
  observed(weights: Float64Array, logOn: Float64Array, packets: number, busyMs: number): void;
  /** Observation stops: the next packets do not show how a silence ended. */
  lookedAway(): void;
}

/** Weight of the model in the rate of each kind, in outages. */
const priorOutages = 4;
/** Weight of the model in the length of each kind, in outages. */
const priorLengths = 8;
/** Limits of a link's own memory: a number of outages, and the time in which the model expects that number. */
const remembered = { outages: 200, expected: 10 * priorOutages };
/** Limits of a learned length, in milliseconds. Only the length of the shortest kind is learned: the others are too rare. */
const lengths = { least: 15, most: 150 };
/** A smaller change does not justify new matrices. */
const worthRatio = 0.03;

/** Observations of one kind: number of outages, watched time and total length. */
interface Sightings {
  count: number;
  watchedSeconds: number;
  lastedMs: number;
  /** Chance of each rate that the outage ends with this pass. */
  readonly over: Float64Array;
}

/** Starts with the law of the model, until this link has shown its own. */
export function outageLaw(model: LinkModel): OutageLaw {
  const { rates, modes } = model;
  const { outages, tickMs } = model.parameters;
  const states = modes * rates;
  const seen = outages.map((): Sightings => ({
    count: 0,
    watchedSeconds: 0,
    lastedMs: 0,
    over: new Float64Array(rates),
  }));
  let law: readonly OutageKind[] = outages;
  let powers = model.modePowers;
  let silentMs = 0;
  let passedMs = 0;

  function learned(kind: OutageKind, index: number): OutageKind {
    const own = seen[index];
    if (!own) return kind;
    const perSecond =
      (priorOutages + own.count) / (priorOutages / Math.max(1e-6, kind.perSecond) + own.watchedSeconds);
    if (index > 0) return { ...kind, perSecond };
    const meanMs = (priorLengths * kind.meanMs + own.lastedMs) / (priorLengths + own.count);
    return { perSecond, meanMs: Math.min(lengths.most, Math.max(lengths.least, meanMs)) };
  }

  /** The weight of all states in which the link is on, each times a factor of its rate. */
  function onWeight(weights: Float64Array, factor: (rate: number) => number): number {
    let total = 0;
    for (let rate = 0; rate < rates; rate++) {
      let here = 0;
      for (let at = rate; at < weights.length; at += states) here += weights[at] ?? 0;
      total += here * factor(rate);
    }
    return total;
  }

  function watch(weights: Float64Array): void {
    const on = silentMs > 0 ? onWeight(weights, () => 1) : 1;
    for (const [index, own] of seen.entries()) {
      const meanMs = law[index]?.meanMs ?? 0;
      own.watchedSeconds += (on * meanMs * (1 - Math.exp(-passedMs / meanMs))) / 1000;
      const mostSeconds = remembered.expected / (outages[index]?.perSecond ?? Infinity);
      keep(own, mostSeconds / own.watchedSeconds);
    }
  }

  function keep(own: Sightings, ratio: number): void {
    if (!(ratio < 1)) return;
    own.count *= ratio;
    own.watchedSeconds *= ratio;
    own.lastedMs *= ratio;
  }

  /** A silence ended: computes the share of each kind in it. */
  function count(weights: Float64Array, logOn: Float64Array): void {
    const all = onWeight(weights, (rate) => Math.exp(logOn[rate] ?? -Infinity));
    if (!(all > 0)) return;
    for (const own of seen) {
      let part = 0;
      for (let rate = 0; rate < rates; rate++)
        part += (own.over[rate] ?? 0) * Math.exp(logOn[rate] ?? -Infinity);
      const share = Math.min(1, part / all);
      own.count += share;
      own.lastedMs += share * silentMs;
      keep(own, remembered.outages / own.count);
    }
    renew();
  }

  function endSilence(): void {
    if (silentMs === 0) return;
    silentMs = 0;
    for (const { over } of seen) over.fill(0);
  }

  function renew(): void {
    const next = outages.map(learned);
    const moved = (one: number, other = 1): boolean => Math.abs(one / other - 1) > worthRatio;
    const worth = next.some(
      ({ perSecond, meanMs }, index) =>
        moved(perSecond, law[index]?.perSecond) || moved(meanMs, law[index]?.meanMs),
    );
    if (!worth) return;
    law = next;
    powers = modePowersOf(law, tickMs);
  }

  return {
    get powers() {
      return powers;
    },
    meanMs: (mode) => law[mode - 1]?.meanMs ?? 0,
    pass(weights, ticks) {
      passedMs += ticks * tickMs;
      if (silentMs === 0) return;
      for (const [index, { over }] of seen.entries()) {
        const chance = 1 - Math.exp((-ticks * tickMs) / (law[index]?.meanMs ?? Infinity));
        for (let rate = 0; rate < rates; rate++) {
          let total = 0;
          for (let at = (index + 1) * rates + rate; at < weights.length; at += states)
            total += weights[at] ?? 0;
          over[rate] = total * chance;
        }
      }
    },
    observed(weights, logOn, packets, busyMs) {
      watch(weights);
      // The end of a silence is invisible between two observations.
      if (passedMs > busyMs + tickMs) endSilence();
      passedMs = 0;
      if (packets > 0 && silentMs > 0) count(weights, logOn);
      if (packets > 0) endSilence();
      else silentMs += busyMs;
    },
    lookedAway: endSilence,
  };
}
