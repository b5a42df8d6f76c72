/*
 * A forecast of arrivals from similar situations of the past.
 *
 * A fitted line follows a crowd that grows, and cannot know that crowds here end after some minutes; an error that is kept as one spread is too
 * wide after a burst and too narrow before one. So each window is kept with its situation, the trends over a minute and over five minutes and
 * the level, and with how the window one start later compared to it. The belief is what followed the situations most like the present one.
 *
 * After E. N. Lorenz (1969), "Atmospheric predictability as revealed by naturally occurring analogues"; here the chance in counts, which the
 * prediction of queues includes already, is taken out of the spread.
 */

/** Half-lives of the three levels, in windows. */
const halfLives = [0.8, 4, 20];
/** Windows that are remembered: twelve hours of a quarter of a minute. */
const remembered = 2880;
/** Situations that make a belief, and the windows before there is one (half an hour). */
const likest = 100;
const leastKept = 120;
/** Differences that count as one: of the short trend, of the long one, and of the level. */
const scales = { short: 0.15, long: 0.4, level: 2 };
/** Where the likest situations are further away than this, nothing like the present was seen. */
const mostDistance = 2;
/** The part of the spread that is kept where it is no wider than chance. */
const leastSpread = 0.2;

interface Situation {
  readonly level: number;
  readonly short: number;
  readonly long: number;
}

/** Remembers windows of arrivals, and what followed them. */
export class Analogs {
  readonly #sums = [0, 0, 0];
  readonly #weights = [0, 0, 0];
  /** Situations whose outcome is not known yet, the oldest first. */
  readonly #open: Situation[] = [];
  readonly #short: number[] = [];
  readonly #long: number[] = [];
  readonly #level: number[] = [];
  readonly #outcome: number[] = [];
  #next = 0;

  /** Takes in the requests of a window; `ahead` is how many windows a start takes. */
  seen(count: number, ahead: number): void {
    for (const [at, halfLife] of halfLives.entries()) {
      const keep = 0.5 ** (1 / halfLife);
      this.#sums[at] = keep * (this.#sums[at] ?? 0) + count;
      this.#weights[at] = keep * (this.#weights[at] ?? 0) + 1;
    }
    this.#open.push(this.#now());
    while (this.#open.length > ahead + 1) this.#open.shift();
    if (this.#open.length <= ahead) return;
    const then = this.#open.shift();
    // The first requests after silence exceed it by any factor.
    if (!then || then.level < 1) return;
    const at = this.#next;
    this.#next = (at + 1) % remembered;
    this.#short[at] = then.short;
    this.#long[at] = then.long;
    this.#level[at] = Math.log(then.level + 1);
    this.#outcome[at] = Math.log((count + 1) / (then.level + 1));
  }

  #now(): Situation {
    const [fast = 0, middle = 0, slow = 0] = this.#sums.map((sum, at) => sum / (this.#weights[at] ?? 1));
    return {
      level: fast,
      short: Math.log((fast + 1) / (middle + 1)),
      long: Math.log((middle + 1) / (slow + 1)),
    };
  }

  /** Requests of the window one start ahead, ascending, equally likely; undefined where nothing like the present was seen. */
  coming(): readonly number[] | undefined {
    const kept = this.#outcome.length;
    const now = this.#now();
    if (kept < leastKept || now.level < 1) return undefined;
    const level = Math.log(now.level + 1);
    const distances = Float64Array.from(
      this.#outcome,
      (_none, at) =>
        Math.abs((this.#short[at] ?? 0) - now.short) / scales.short +
        Math.abs((this.#long[at] ?? 0) - now.long) / scales.long +
        Math.abs((this.#level[at] ?? 0) - level) / scales.level,
    );
    const wanted = Math.min(likest, Math.floor(kept / 4));
    const furthest = distances.toSorted()[wanted - 1] ?? Infinity;
    if (furthest > mostDistance) return undefined;
    const outcomes: number[] = [];
    let chance = 0;
    for (const [at, distance] of distances.entries()) {
      if (distance > furthest) continue;
      const outcome = this.#outcome[at] ?? 0;
      outcomes.push(outcome);
      chance += Math.exp(-outcome - (this.#level[at] ?? 0));
    }
    const mean = outcomes.reduce((sum, one) => sum + one, 0) / outcomes.length;
    const variance = outcomes.reduce((sum, one) => sum + (one - mean) ** 2, 0) / outcomes.length;
    const spread = Math.max(leastSpread, Math.sqrt(Math.max(0, 1 - chance / outcomes.length / variance)));
    return outcomes
      .map((one) => now.level * Math.exp(mean + spread * (one - mean)))
      .sort((one, other) => one - other);
  }
}
