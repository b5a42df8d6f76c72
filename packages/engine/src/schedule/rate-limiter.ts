import { LongshoreError } from "@longshore/core";

/**
 * Models of one engine can share resources that are neither queues nor memory: a licence, a bus, the number of runs that a processor bears
 * at a time. Each instance states how much of each resource a run takes. A run begins when all of it is free (Triton's rate limiter,
 * `execution_count`).
 *
 * The instance with the fewest turns, counted times its priority, is next. A new instance, or one without work for a while, starts near the
 * instances that it shares with; otherwise it would run alone until it had caught up. A run that needs much is not overtaken by runs that
 * take the same resources in small pieces: what it needs is reserved for it.
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
  /** Takes what a run needs, or calls `again` once it is free. */
  take(again: () => void): boolean;
  /** Ends the run. The next is called in a later turn, so that this one can take again first. */
  give(): void;
  /** Ends without a run: it does not count as a turn. */
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

  /** An instance whose last run has not given back its resources has to wait for that. */
  const fits = ({ needs, holding }: Claimer): boolean =>
    !holding && needs.every(({ name, count }) => (taken.get(name) ?? 0) + count <= totalOf(name));
  const rank = ({ turns, priority }: Claimer): number => (turns + 1) * priority;
  const shares = (a: Claimer, b: Claimer): boolean =>
    a.needs.some(({ name }) => b.needs.some((other) => other.name === name));
  /** Raises the turns of an instance to those of the instances that it shares with and that run or wait. */
  const catchUp = (own: Claimer): void => {
    const ranks = [...claimers]
      .filter((other) => other !== own && (other.holding || other.again) && shares(own, other))
      .map((other) => rank(other) - other.priority);
    if (ranks.length > 0) own.turns = Math.max(own.turns, Math.min(...ranks) / own.priority - 1);
  };
  const change = (needs: readonly ResourceNeed[], sign: 1 | -1): void => {
    for (const { name, count } of needs) taken.set(name, (taken.get(name) ?? 0) + sign * count);
  };

  /** Calls the waiting instances in order, until one has to keep waiting. */
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
