/** Resolution of a histogram: 8-bit codes over a hundredth of the range still fall into different bins. */
const bins = 8192;

/**
 * How often which values were seen, in memory that does not grow: bins of equal width around zero, whose width doubles when a
 * value lies outside. So one pass over the data suffices, for any values.
 */
export class ValueHistogram {
  least = 0;
  most = 0;
  seen = 0;
  #limit = 2 ** -20;
  #counts = new Float64Array(bins);

  /** Counts values. Values that are not finite are left out. */
  add(values: Float32Array): void {
    let [least, most] = [this.least, this.most];
    for (const value of values) {
      if (value < least && value > -Infinity) least = value;
      if (value > most && value < Infinity) most = value;
    }
    this.#reach(Math.max(most, -least));
    this.least = least;
    this.most = most;
    const counts = this.#counts;
    const perUnit = bins / 2 / this.#limit;
    for (const value of values) {
      const at = (value * perUnit + bins / 2) | 0;
      if (at >= 0 && at < bins) counts[at] = (counts[at] ?? 0) + 1;
      else if (value === this.#limit) counts[bins - 1] = (counts[bins - 1] ?? 0) + 1;
    }
    this.seen += values.length;
  }

  /** The middles of the bins that hold something, with how many values each holds, rising. */
  filled(): { readonly values: Float64Array; readonly counts: Float64Array } {
    const width = (2 * this.#limit) / bins;
    const filled = [...this.#counts.keys()].filter((at) => this.#counts[at] !== 0);
    return {
      values: Float64Array.from(filled, (at) => (at + 0.5) * width - this.#limit),
      counts: Float64Array.from(filled, (at) => this.#counts[at] ?? 0),
    };
  }

  #reach(size: number): void {
    while (size > this.#limit) {
      const merged = new Float64Array(bins);
      for (let at = 0; at < bins; at++) {
        const into = bins / 4 + (at >> 1);
        merged[into] = (merged[into] ?? 0) + (this.#counts[at] ?? 0);
      }
      this.#counts = merged;
      this.#limit *= 2;
    }
  }
}
