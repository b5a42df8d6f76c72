/** How long an endpoint with pending work stays silent, relative to the usual upper bound of its answers. */
export interface Lateness {
  /**
   * Records an answer after `tookMs`, with the usual upper bound `usualMs`. `silentMs` is the silence before it: since the request was
   * sent, or since the endpoint's last answer if that was later.
   */
  answered(tookMs: number, usualMs: number, silentMs: number): void;
  /** A silence longer than this exceeds all recent ones, while an answer with upper bound `usualMs` is pending. */
  beyondMs(usualMs: number): number;
}

/** Number of answers remembered. */
const lookedBack = 32;
/** Number of answers needed to replace the initial assumption. */
const leastAnswers = 8;
/** Initial assumption: late after this many usual times. */
const firstRatio = 2;
/** An answer is never late before its usual time. */
const leastRatio = 1;
/** Upper limit of the ratio: an answer that took longer does not predict the next one. */
const mostRatio = 4;
/** Margin above the largest recent ratio. */
const marginRatio = 1.25;

/** Starts without answers. */
export function lateness(): Lateness {
  return new RecentAnswers();
}

/**
 * Expected times are wrong where all work shares the same processors, or where the estimate was too cautious. So "late" follows the worst
 * ratio of recent answers to their usual times. It is bounded by the longest recent silence or the usual time, whichever is longer, if the
 * pending work is of an answered kind. Many requests that wait together are each late while the endpoint is not silent. About one answer in
 * fifty is later, and a hang is detected as early as possible.
 */
class RecentAnswers implements Lateness {
  /** Made with the first answer: of many endpoints most never answer. */
  #ratios: Float64Array | undefined;
  #gapsMs: Float64Array | undefined;
  #answers = 0;

  answered(tookMs: number, usualMs: number, silentMs: number): void {
    this.#ratios ??= new Float64Array(lookedBack);
    this.#gapsMs ??= new Float64Array(lookedBack);
    this.#gapsMs[this.#answers % lookedBack] = silentMs;
    // Below a millisecond the ratio carries no information.
    this.#ratios[this.#answers++ % lookedBack] = tookMs / Math.max(1, usualMs);
  }

  beyondMs(usualMs: number): number {
    if (this.#answers < leastAnswers || !this.#ratios || !this.#gapsMs) {
      return marginRatio * firstRatio * usualMs;
    }
    const ratio = Math.min(mostRatio, Math.max(leastRatio, greatest(this.#ratios)));
    const gapMs = greatest(this.#gapsMs);
    const longestMs = usualMs <= mostRatio * gapMs ? Math.max(usualMs, gapMs) : Infinity;
    return marginRatio * Math.min(longestMs, ratio * usualMs);
  }
}

/** Maximum of values of 0 or more. Called for every request: an iterator would make an object of each value. */
function greatest(values: Float64Array): number {
  let most = 0;
  for (let index = 0; index < lookedBack; index++) {
    const value = values[index] ?? 0;
    if (value > most) most = value;
  }
  return most;
}
