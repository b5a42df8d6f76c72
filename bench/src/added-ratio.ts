import { medianInterval, quantile } from "./harness.ts";

/** One time of each round, without a proxy, through ours, and through another, in milliseconds. */
export interface ProxyRounds {
  readonly direct: readonly number[];
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
}

/** A median with its 95 % interval. */
type Interval = ReturnType<typeof medianInterval>;

/** The time that our proxy adds, compared with another proxy. */
export interface AddedRatio {
  /** Added by ours over added by theirs; undefined if what theirs adds is not above the noise. */
  readonly ratio: number | undefined;
  /** Added by theirs, the median over rounds. */
  readonly theirsMs: number;
  /** The interquartile range of `direct` between rounds. */
  readonly noiseMs: number;
  /** The whole time through ours over the whole time through theirs, round by round. */
  readonly whole: Interval;
}

/**
 * Compares what two proxies add to the time of the same server. Added time is a difference, and the quotient of two differences says
 * nothing if its divisor is near zero: then only the whole times can be compared.
 *
 * @param draw For the interval.
 */
export function addedRatio({ direct, ours, theirs }: ProxyRounds, draw: () => number): AddedRatio {
  const added = (through: readonly number[]): number =>
    quantile(
      through.map((ms, round) => ms - (direct[round] ?? NaN)),
      0.5,
    );
  const theirsMs = added(theirs);
  const noiseMs = quantile(direct, 0.75) - quantile(direct, 0.25);
  const ratio = theirsMs > Math.max(0, noiseMs) ? added(ours) / theirsMs : undefined;
  const whole = medianInterval(
    ours.map((ms, round) => ms / (theirs[round] ?? NaN)),
    draw,
  );
  return { ratio, theirsMs, noiseMs, whole };
}
