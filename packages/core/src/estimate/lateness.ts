/** How late answers of a place are, compared with what they hardly ever take. */
export interface Lateness {
  /** An answer took `tookMs`, which was expected to take hardly more than `usualMs`. */
  answered(tookMs: number, usualMs: number): void;
  /** Without an answer after so long one that hardly ever takes more than `usualMs` is later than any of the last. */
  beyondMs(usualMs: number): number;
}

/** Answers that are looked back on, and how many it takes to go by them instead of by what is taken before. */
const lookedBack = 32;
const leastAnswers = 8;
const firstRatio = 2;
/** None is late before its usual time; answers that took longer than this many times of it say nothing of the next. */
const leastRatio = 1;
const mostRatio = 4;
/** Beyond the latest by this much. */
const marginRatio = 1.25;

/**
 * What is expected is wrong where everything waits for the same processors, or comes sooner than was feared. So "late" is what the latest
 * of the last answers was, by as much as it missed its time: about one in fifty is later, and what hangs is known as soon as may be.
 */
export function lateness(): Lateness {
  const ratios = new Float64Array(lookedBack);
  let answers = 0;
  return {
    answered(tookMs, usualMs) {
      // Below a millisecond nothing can be told.
      ratios[answers++ % lookedBack] = tookMs / Math.max(1, usualMs);
    },
    beyondMs(usualMs) {
      const latest = answers < leastAnswers ? firstRatio : Math.max(leastRatio, ...ratios);
      return marginRatio * Math.min(mostRatio, latest) * usualMs;
    },
  };
}
