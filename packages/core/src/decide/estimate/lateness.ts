/** For how long an endpoint that has something to do for us answers nothing, compared with what its answers hardly ever take. */
export interface Lateness {
  /**
   * An answer came `tookMs` after it was asked for, and was expected to take hardly more than `usualMs`. Before it came nothing for
   * `silentMs`: since it was asked for, or since the last answer of the endpoint where that came later.
   */
  answered(tookMs: number, usualMs: number, silentMs: number): void;
  /** Nothing for so long, while one is owed that hardly ever takes more than `usualMs`, is a longer silence than any of the last. */
  beyondMs(usualMs: number): number;
}

/** Answers that are remembered. */
const lookedBack = 32;
/** Answers needed before they replace the first assumption. */
const leastAnswers = 8;
/** The assumption before: late after this many usual times. */
const firstRatio = 2;
/** No answer is late before its usual time. */
const leastRatio = 1;
/** Answers that took longer than this many usual times say nothing of the next. */
const mostRatio = 4;
/** Beyond the latest by this much. */
const marginRatio = 1.25;

/**
 * What is expected is wrong where everything waits for the same processors, or comes sooner than was feared. So "late" is what the latest
 * of the last answers was, by as much as it missed its usual time; and no longer than the longest of the last silences or the usual time,
 * whichever is longer, where what is owed is not of another kind than all that was answered: many that wait at once are each late, and the
 * endpoint is not silent. About one in fifty is later, and what hangs is known as soon as may be.
 */
export function lateness(): Lateness {
  const ratios = new Float64Array(lookedBack);
  const gapsMs = new Float64Array(lookedBack);
  let answers = 0;
  return {
    answered(tookMs, usualMs, silentMs) {
      gapsMs[answers % lookedBack] = silentMs;
      // Below a millisecond nothing can be told.
      ratios[answers++ % lookedBack] = tookMs / Math.max(1, usualMs);
    },
    beyondMs(usualMs) {
      if (answers < leastAnswers) return marginRatio * firstRatio * usualMs;
      const ratio = Math.min(mostRatio, Math.max(leastRatio, greatest(ratios)));
      const gapMs = greatest(gapsMs);
      const longestMs = usualMs <= mostRatio * gapMs ? Math.max(usualMs, gapMs) : Infinity;
      return marginRatio * Math.min(longestMs, ratio * usualMs);
    },
  };
}

/** Of values of 0 and more; asked for every request, so that nothing is spread. */
function greatest(values: Float64Array): number {
  let most = 0;
  for (const value of values) if (value > most) most = value;
  return most;
}
