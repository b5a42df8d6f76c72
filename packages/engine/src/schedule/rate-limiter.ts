import { LongshoreError } from "@longshore/core";

/**
 * Models of one place can share things that are neither queues nor memory: a licence, a bus, the number of runs that a
 * processor bears at a time. Each instance says how much of which resource a run takes, and a run begins only when all of
 * it is there (Triton's rate limiter, `execution_count`).
 *
 * Whoever had the fewest turns, counted times its priority, is next; who comes, or had nothing to run for a while, begins
 * about where those are that it shares with, or it would run alone until it has caught up. A run that waits for much is not
 * passed by others that take the same resources in small pieces: what it waits for is kept for it.
 */
export interface RateLimiter {
  /** Throws `invalid-configuration` for more than there is. Dispose it when the instance goes. */
  register(name: string, needs: readonly ResourceNeed[], priority: number): ResourceClaim;
}

/** How much of a resource a run takes. */
export interface ResourceNeed {
  readonly name: string;
  readonly count: number;
}

/** The claim of one instance on shared resources. */
export interface ResourceClaim extends Disposable {
  /** Takes what a run needs, or remembers to call `again` once it can be had. */
  take(again: () => void): boolean;
  /** The run is over. Who is next is called a moment later, so that whoever gave it back may ask for its next one, too. */
  give(): void;
  /** There was no run after all: it was no turn. */
  drop(): void;
}

interface Claimer {
  readonly needs: readonly ResourceNeed[];
  readonly priority: number;
  turns: number;
  holding: boolean;
  again: (() => void) | undefined;
}

/**
 * @param totals How much there is of each resource. One that is not named here is as large as the most that any instance
 *   takes of it, so that one such run at a time is possible.
 */
export function rateLimiter(totals: Readonly<Record<string, number>>): RateLimiter {
  const claimers = new Set<Claimer>();
  const taken = new Map<string, number>();

  function totalOf(name: string): number {
    if (Object.hasOwn(totals, name)) return totals[name] ?? 0;
    let most = 0;
    for (const { needs } of claimers) {
      for (const need of needs) if (need.name === name) most = Math.max(most, need.count);
    }
    return most;
  }

  /** One that has not given back yet what its last run took has to wait for that. */
  const fits = ({ needs, holding }: Claimer): boolean =>
    !holding && needs.every(({ name, count }) => (taken.get(name) ?? 0) + count <= totalOf(name));
  const rank = ({ turns, priority }: Claimer): number => (turns + 1) * priority;
  const shares = (a: Claimer, b: Claimer): boolean =>
    a.needs.some(({ name }) => b.needs.some((other) => other.name === name));
  /** No further behind than those have been that share with it and run or wait: what each had before its last turn. */
  const catchUp = (own: Claimer): void => {
    const ranks = [...claimers]
      .filter((other) => other !== own && (other.holding || other.again) && shares(own, other))
      .map((other) => rank(other) - other.priority);
    if (ranks.length > 0) own.turns = Math.max(own.turns, Math.min(...ranks) / own.priority - 1);
  };
  const change = (needs: readonly ResourceNeed[], sign: 1 | -1): void => {
    for (const { name, count } of needs) taken.set(name, (taken.get(name) ?? 0) + sign * count);
  };

  /** Calls those who wait, the first in turn first, until one of them has to wait on. */
  function wake(): void {
    const waiting = [...claimers].filter(({ again }) => again).sort((a, b) => rank(a) - rank(b));
    const kept: Claimer[] = [];
    for (const one of waiting) {
      if (kept.some((other) => shares(one, other)) || !fits(one)) {
        kept.push(one);
        continue;
      }
      const { again } = one;
      one.again = undefined;
      again?.();
    }
  }

  return {
    register(name, needs, priority) {
      for (const need of needs) {
        if (!Object.hasOwn(totals, need.name) || need.count <= (totals[need.name] ?? 0)) continue;
        throw new LongshoreError(
          "invalid-configuration",
          "execute",
          `${name} takes ${need.count} of resource ${need.name} for a run; there are ${totals[need.name]}`,
        );
      }
      const own: Claimer = { needs, priority, turns: 0, holding: false, again: undefined };
      claimers.add(own);
      const give = (): void => {
        if (!own.holding) return;
        own.holding = false;
        change(needs, -1);
        queueMicrotask(wake);
      };
      return {
        take(again) {
          catchUp(own);
          const before = [...claimers].some(
            (other) => other !== own && other.again && shares(own, other) && rank(other) < rank(own),
          );
          if (before || !fits(own)) {
            own.again = again;
            return false;
          }
          own.again = undefined;
          own.turns++;
          own.holding = true;
          change(needs, 1);
          return true;
        },
        give,
        drop() {
          own.turns--;
          give();
        },
        [Symbol.dispose]: () => {
          claimers.delete(own);
          give();
          wake();
        },
      };
    },
  };
}
