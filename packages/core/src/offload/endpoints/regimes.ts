/**
 * The levels between which the speed of an endpoint jumps, as logarithms, and how soon. A neighbour that comes and goes, a processor that
 * throttles, or a batch job makes a server several times slower, for a while, and again. One level with noise describes that badly: it is
 * too sure while the level lasts, and after a jump it takes the next one for impossible.
 *
 * Each jump is remembered with the level before, the level after, and how long the former had lasted. Jumps from a level like the present
 * one tell how likely it is to end, and where that leads. Without a jump none is expected.
 */
export interface Regimes {
  /** Records a jump. */
  jumped(from: number, to: number, nowMs: number): void;
  /** The chance that a level which was true `forMs` ago has ended since. 0 before the first jump. */
  endedRatio(level: number, forMs: number, nowMs: number): number;
  /** Whether a jump led to this level or from it. The only jump so far may have been one odd run. */
  knows(level: number): boolean;
  /** Levels after the end of this one, and their weights, with a sum of 1. */
  next(level: number): { readonly levels: readonly number[]; readonly weights: readonly number[] };
}

/** Jumps that are remembered. */
const mostJumps = 12;
/** A jump never seen before goes this far, at most, as a logarithm; all distances are as likely. */
const farthest = Math.log(30);
/** Points of such jumps on either side, and the number of jumps that they count for in all. */
const pointsAside = 6;
const unseenJumps = 0.25;
/** A level lasts at least this long, in milliseconds: a shorter one is noise. */
const leastLastMs = 500;

interface Jump {
  readonly from: number;
  readonly to: number;
  readonly lastedMs: number;
}

/** Starts without a jump, at a level that began now. */
export function regimes(nowMs: number): Regimes {
  return new Jumps(nowMs);
}

/** A jump from a level that is not alike at all counts for this much. */
const leastAlike = 0.25;
/** A jump shows that the way back is there, too, and counts for this much of one. */
const wayBack = 0.5;
/** Levels that are nearer are the same one, as a logarithm. */
const sameLevel = 0.2;

/** How much a jump from one level says of another. */
const alike = (one: number, other: number): number => Math.max(leastAlike, Math.exp(-Math.abs(one - other)));

class Jumps implements Regimes {
  #jumps: Jump[] = [];
  #sinceMs: number;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  jumped(from: number, to: number, nowMs: number): void {
    this.#jumps.push({ from, to, lastedMs: Math.max(leastLastMs, nowMs - this.#sinceMs) });
    if (this.#jumps.length > mostJumps) this.#jumps.shift();
    this.#sinceMs = nowMs;
  }

  endedRatio(level: number, forMs: number, nowMs: number): number {
    if (this.#jumps.length === 0 || !(forMs > 0)) return 0;
    let ends = 0;
    let lastedMs = Math.max(leastLastMs, nowMs - this.#sinceMs);
    for (const jump of this.#jumps) {
      const weight = alike(jump.from, level);
      ends += weight;
      lastedMs += weight * jump.lastedMs;
    }
    return 1 - Math.exp((-forMs * ends) / lastedMs);
  }

  knows(level: number): boolean {
    if (this.#jumps.length < 2) return false;
    return this.#jumps.some(
      ({ from, to }) => Math.abs(from - level) < sameLevel || Math.abs(to - level) < sameLevel,
    );
  }

  next(level: number): { readonly levels: readonly number[]; readonly weights: readonly number[] } {
    const levels: number[] = [];
    const weights: number[] = [];
    for (let point = 0; point < 2 * pointsAside; point++) {
      levels.push(level + farthest * ((point + 0.5) / pointsAside - 1));
      weights.push(unseenJumps / (2 * pointsAside));
    }
    const add = (to: number, weight: number): void => {
      if (Math.abs(to - level) < sameLevel) return;
      levels.push(to);
      weights.push(weight);
    };
    for (const { from, to } of this.#jumps) {
      add(to, alike(from, level));
      add(from, wayBack * alike(to, level));
    }
    const total = weights.reduce((sum, one) => sum + one, 0);
    return { levels, weights: weights.map((one) => one / total) };
  }
}
