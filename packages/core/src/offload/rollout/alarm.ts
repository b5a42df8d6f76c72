/**
 * An alarm that may be checked after every observation.
 *
 * A significance test repeated after each request rolls back good candidates, since sooner or later random errors look significant. So the
 * evidence is kept as the capital of a gambler who bets that bad observations come more often than the limit allows. While the limit holds,
 * no bet gains on average. By Ville's inequality the capital ever reaches 1 / a with a probability of at most a, however often it is
 * checked (J. Ville, 1939; G. Shafer, "Testing by betting", 2021). Several stakes are played at once and their mean counts, so no single
 * one needs to be right.
 */
export interface Alarm {
  /** Records an observation that is bad with a probability of at most `allowedRatio` while the limit holds. */
  seen(bad: boolean, allowedRatio: number): void;
  /** Whether the capital has reached 1 / falseAlarmRatio. */
  readonly raised: boolean;
  readonly count: number;
}

const stakes: readonly number[] = [0.05, 0.2, 0.5, 0.9];
/** Lower limit of `allowedRatio`: a sure outcome allows no bet. */
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
