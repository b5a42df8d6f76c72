/**
 * Run time as a function of the number of rows, for inputs of one shape, from the recent runs of 1, 2, up to 4, up to 8, ... rows.
 *
 * Whether batching pays is judged by the faster quarter of the runs. Runs in a busy moment of the machine say nothing about batching, and
 * such a moment can cover more than half of the runs kept for a size. Forecasts use means, with straight lines between them, because busy
 * moments do occur.
 */
export interface RunCurve {
  seen(rows: number, tookMs: number): void;
  runMs(rows: number): number | undefined;
  /** The fastest recent run of that class of sizes; undefined with fewer than `enough` runs. */
  fastestMs(rows: number, enough: number): number | undefined;
  /** See `RunTimes`. */
  worthwhileRows(rows: number, enough: number): number;
  joinedRows(rows: number, enough: number): number;
  pays(rows: number, more: number, enough: number): boolean;
}

/** Recent runs that a figure is made of. */
const remembered = 16;
/**
 * One run that took this many times as long as every other was interrupted: the process was stopped, or the machine slept. It counts as the
 * next slowest. Otherwise forecasts would refuse the requests after it.
 */
const interruptedRatio = 10;
/** A larger batch must save at least this share of the time per row; otherwise it only delays its first requests. */
const leastGainRatio = 0.03;
/** This factor of time per row is a loss, not noise. */
const clearLossRatio = 1.02;
/** How often a size is passed over before its first new trial. */
const firstPatience = 32;
/** How often a size is passed over at most before a new trial. */
const mostPatience = 8192;
/** Runs of a trial, so that older measurements do not outvote it. */
const trialRuns = 6;
/** A trial ends early when its losses exceed its wins by this number. */
const trialLosses = 2;

/** Rows up to 1, 2, 4, 8, ... are classes 0, 1, 2, 3, ... */
export function rowClass(rows: number): number {
  return rows <= 1 ? 0 : Math.ceil(Math.log2(rows));
}

class SizeTimes {
  count = 0;
  meanRows = 0;
  #passedOver = 0;
  #patience = firstPatience;
  /** Runs that the trial under way still takes, and how many more of them have won than lost. */
  #trial = 0;
  #lead = 0;
  /** The recent times for each row in the order in which they came, and sorted. */
  readonly #recent = new Float64Array(remembered);
  readonly #sorted = new Float64Array(remembered);
  #kept = 0;
  #sum = 0;

  seen(rows: number, tookMs: number): void {
    const rowMs = tookMs / rows;
    const slot = this.count % remembered;
    if (this.#kept === remembered) this.#remove(this.#recent[slot] as number);
    this.#insert(rowMs);
    this.#recent[slot] = rowMs;
    this.count++;
    this.meanRows += (rows - this.meanRows) / Math.min(this.count, remembered);
  }

  #remove(value: number): void {
    const sorted = this.#sorted;
    sorted.copyWithin(sorted.indexOf(value), sorted.indexOf(value) + 1, this.#kept);
    this.#kept--;
    this.#sum -= value;
  }

  #insert(value: number): void {
    const sorted = this.#sorted;
    let at = this.#kept;
    for (; at > 0 && (sorted[at - 1] as number) > value; at--) sorted[at] = sorted[at - 1] as number;
    sorted[at] = value;
    this.#kept++;
    this.#sum += value;
  }

  /** Time per row that a quarter of the runs do not exceed. */
  get rowMs(): number {
    return this.#sorted[(this.#kept - 1) >> 2] ?? 0;
  }

  /** Mean time of a run of `meanRows`, without an interruption of the whole process. */
  get meanMs(): number {
    const slowest = this.#sorted[this.#kept - 1] as number;
    const next = this.#sorted[this.#kept - 2] ?? slowest;
    const interrupted = this.#kept > 2 && slowest > interruptedRatio * next;
    const sum = interrupted ? this.#sum - slowest + next : this.#sum;
    return (sum / this.#kept) * this.meanRows;
  }

  /** Marks this size as the one in use, so that a new loss is noticed soon. */
  chosen(): void {
    this.#patience = firstPatience;
  }

  /** Whether to try this size now instead of one that takes `rivalRowMs` per row. */
  tries(rivalRowMs: number): boolean {
    if (this.#trial > 0) {
      const newest = this.#recent[(this.count - 1) % remembered] as number;
      this.#lead += newest < rivalRowMs ? 1 : -1;
      if (this.#lead <= -trialLosses) this.#trial = 0;
    } else if (++this.#passedOver >= this.#patience) {
      this.#passedOver = 0;
      this.#patience = Math.min(mostPatience, this.#patience * 2);
      this.#trial = trialRuns;
      this.#lead = 0;
    }
    if (this.#trial === 0) return false;
    this.#trial--;
    return true;
  }

  get fastestRowMs(): number {
    return this.#sorted[0] ?? 0;
  }
}

export function runCurve(): RunCurve {
  const sizes: (SizeTimes | undefined)[] = [];

  function runMs(rows: number): number | undefined {
    let below: SizeTimes | undefined;
    let before: SizeTimes | undefined;
    for (const size of sizes) {
      if (!size) continue;
      if (size.meanRows >= rows) {
        const ms = size.meanMs;
        if (size.meanRows === rows) return ms;
        if (!below) return (ms / size.meanRows) * rows;
        const belowMs = below.meanMs;
        return belowMs + ((ms - belowMs) * (rows - below.meanRows)) / (size.meanRows - below.meanRows);
      }
      before = below;
      below = size;
    }
    if (!below) return undefined;
    if (!before) return (below.meanMs / below.meanRows) * rows;
    const slope = (below.meanMs - before.meanMs) / (below.meanRows - before.meanRows);
    return below.meanMs + Math.max(0, slope) * (rows - below.meanRows);
  }

  /** The smallest class, up to one, whose time per row is close to the least measured. */
  function best(upTo: number, enough: number): number {
    let least = Infinity;
    for (let index = 0; index <= upTo; index++) {
      const size = sizes[index];
      if (size && size.count >= enough) least = Math.min(least, size.rowMs);
    }
    for (let index = 0; index < upTo; index++) {
      const size = sizes[index];
      if (size && size.count >= enough && size.rowMs * (1 - leastGainRatio) <= least) return index;
    }
    return upTo;
  }

  function measured(index: number, enough: number): boolean {
    return (sizes[index]?.count ?? 0) >= enough;
  }

  return {
    seen(rows, tookMs) {
      const index = rowClass(rows);
      (sizes[index] ??= new SizeTimes()).seen(rows, tookMs);
    },
    runMs,
    fastestMs(rows, enough) {
      const size = sizes[rowClass(rows)];
      return size && size.count >= enough ? size.fastestRowMs * rows : undefined;
    },
    joinedRows: (rows, enough) => joined(rows, best(rowClass(rows), enough)),
    pays(rows, more, enough) {
      const [few, many] = [sizes[rowClass(rows)], sizes[rowClass(more)]];
      if (!few || !many || few.count < enough || many.count < enough) return true;
      return few === many || many.rowMs < few.rowMs * (1 - leastGainRatio);
    },
    worthwhileRows(rows, enough) {
      const wanted = rowClass(rows);
      let least = sizes[0]?.rowMs ?? Infinity;
      let last = 1;
      // A size that clearly loses speaks for the larger ones.
      for (; last < wanted; last++) {
        const size = sizes[last];
        if (!size || size.count < enough) continue;
        if (size.rowMs > least * clearLossRatio) break;
        least = Math.min(least, size.rowMs);
      }
      // One that was never seen is tried.
      if (last >= wanted && !measured(wanted, enough)) return rows;
      const chosen = best(last, enough);
      sizes[chosen]?.chosen();
      if (chosen >= wanted) return rows;
      const next = sizes[chosen + 1];
      return joined(rows, next?.tries(sizes[chosen]?.rowMs ?? Infinity) ? chosen + 1 : chosen);
    },
  };
}

/** As many rows as the class holds, and no more than there are. */
function joined(rows: number, index: number): number {
  return Math.min(rows, 2 ** index);
}
