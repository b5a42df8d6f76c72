/**
 * An alarm that may be looked at after every observation.
 *
 * Whoever tests again after each request until something is significant rolls back good candidates, since sooner or later
 * chance looks bad. So evidence is kept as the capital of a gambler who bets that bad observations come more often than the
 * limit allows: while the limit holds, no bet gains on average, and by Ville's inequality the capital ever reaches 1 / a
 * with a chance of at most a, however often one looks (J. Ville, 1939; G. Shafer, "Testing by betting", 2021). Several
 * stakes are played at once and their mean counts, so that none needs to be the right one.
 */
export interface Alarm {
  /** An observation that is bad with a chance of at most `allowedRatio` while the limit holds. */
  seen(bad: boolean, allowedRatio: number): void;
  /** Whether the capital has reached 1 / falseAlarmRatio. */
  readonly raised: boolean;
  readonly count: number;
}

const stakes: readonly number[] = [0.05, 0.2, 0.5, 0.9];
/** Bets on certain losses and sure gains would be no bets. */
const leastAllowed = 1e-4;

/** Starts with the capital 1. */
export function alarm(falseAlarmRatio: number): Alarm {
  const capitals = stakes.map(() => 1);
  const enough = 1 / falseAlarmRatio;
  let count = 0;
  let raised = false;
  return {
    get raised() {
      return raised;
    },
    get count() {
      return count;
    },
    seen(bad, allowedRatio) {
      const allowed = Math.min(1, Math.max(leastAllowed, allowedRatio));
      count++;
      let sum = 0;
      for (const [at, stake] of stakes.entries()) {
        const factor = 1 - stake + (bad ? stake / allowed : 0);
        const capital = Math.min(1e300, (capitals[at] ?? 0) * factor);
        capitals[at] = capital;
        sum += capital;
      }
      raised ||= sum / stakes.length >= enough;
    },
  };
}
