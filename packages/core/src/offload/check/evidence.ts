/**
 * Decides when disagreements prove that an endpoint is wrong. Variants and codecs that agree in 99 % of cases differ from time to time
 * without a fault, so one difference proves something only where none is expected.
 *
 * The evidence is a cumulative sum of log likelihood ratios (E. S. Page, "Continuous inspection schemes", 1954) between "differs as often
 * as the profile says" and "differs far more often". It never falls below zero: a long good time does not earn an endpoint the right to
 * lie.
 */
export interface Evidence {
  /** Whether there is any evidence: a rare disagreement was seen. */
  readonly suspect: boolean;
  /** Records a judged answer, with the `agreementRatio` of the profile. Returns whether the evidence suffices. */
  seen(right: boolean, agreementRatio: number): boolean;
  clear(): void;
}

/** Share of answers that may differ by rounding although the profile expects no difference. */
const leastStrayRatio = 1e-4;
/** The likelihood ratio that proves a fault: 1,000 to 1, as a logarithm. */
const enough: number = Math.log(1000);

/** Starts without evidence. */
export function evidence(): Evidence {
  let sum = 0;
  return {
    get suspect() {
      return sum > 0;
    },
    seen(right, agreementRatio) {
      const usual = Math.min(0.5, Math.max(leastStrayRatio, 1 - agreementRatio));
      const wrong = Math.max(0.2, Math.min(0.9, 4 * usual));
      sum = Math.max(0, sum + (right ? Math.log((1 - wrong) / (1 - usual)) : Math.log(wrong / usual)));
      return sum >= enough;
    },
    clear() {
      sum = 0;
    },
  };
}
