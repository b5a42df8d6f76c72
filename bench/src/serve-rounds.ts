import { seededRandom } from "@longshore/core";
import { median, medianInterval } from "./harness.ts";
import type { Load } from "./serve-load.ts";
import type { Subject } from "./serve-subjects.ts";

/** A comparison of two subjects that a bar is set on. */
export interface Pair {
  readonly figure: string;
  readonly ours: string;
  readonly theirs: string;
  /** The compared figure: more requests a second are better, a shorter tail is. */
  readonly what: "perSecond" | "p99Ms";
  /** The bar, for judging how narrow the interval has to be; undefined for a figure without one. */
  readonly bar: number | undefined;
}

/** How long to measure. */
export interface RoundsPlan {
  readonly concurrency: number;
  readonly seconds: number;
  readonly rounds: number;
  /** Rounds at most, when an interval stays wide. */
  readonly maxRounds: number;
  readonly pairs: readonly Pair[];
  readonly seed: number;
  /** Of each subject, before the first round. */
  readonly warmUpSeconds: number;
}

/** A figure with its interval. */
export interface Compared {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** The results of the rounds of one cell of the table. */
export interface Rounds {
  /** Per subject, one entry a round: the mean of its two windows. */
  readonly loads: ReadonlyMap<string, readonly Load[]>;
  readonly compared: ReadonlyMap<string, Compared>;
  /** Figures whose interval is still wider than a tenth of the bar. */
  readonly wide: readonly string[];
}

function mean(a: Load, b: Load): Load {
  const each = Object.entries(a).map(([name, value]) => [name, (value + (b[name as keyof Load] ?? NaN)) / 2]);
  // The names are those of `a`, and the figures of a window are numbers only.
  const means = Object.fromEntries(each) as unknown as Load;
  return { ...means, requests: a.requests + b.requests, failed: a.failed + b.failed };
}

function compare(loads: ReadonlyMap<string, readonly Load[]>, plan: RoundsPlan): Map<string, Compared> {
  const compared = new Map<string, Compared>();
  for (const { figure, ours, theirs, what } of plan.pairs) {
    const left = loads.get(ours);
    const right = loads.get(theirs);
    if (!left || !right) continue;
    const ratios = left.map((load, round) => load[what] / (right[round]?.[what] ?? NaN));
    const random = seededRandom(plan.seed);
    compared.set(
      figure,
      medianInterval(ratios, () => random.next()),
    );
  }
  return compared;
}

const tooWide = ({ low, high }: Compared, bar: number | undefined): boolean =>
  bar !== undefined && high - low > bar / 10;

/**
 * All subjects forth and back in every round (A B C C B A), so that drift of the machine hits all alike, until every
 * interval is narrow or the rounds are used up. A window of each before the first round does not count, nor is it short:
 * a server under Node.js compiles for its first 30,000 small requests.
 */
export async function runRounds(subjects: readonly Subject[], plan: RoundsPlan): Promise<Rounds> {
  const loads = new Map<string, Load[]>(subjects.map(({ name }) => [name, []]));
  for (const subject of subjects)
    await subject.measure(plan.concurrency, Math.max(plan.seconds, plan.warmUpSeconds));
  for (let round = 0; round < plan.maxRounds; round++) {
    const first = new Map<string, Load>();
    for (const subject of [...subjects, ...[...subjects].reverse()]) {
      const load = await subject.measure(plan.concurrency, plan.seconds);
      const before = first.get(subject.name);
      if (before) loads.get(subject.name)?.push(mean(before, load));
      else first.set(subject.name, load);
    }
    if (round + 1 < plan.rounds) continue;
    const compared = compare(loads, plan);
    const barOf = (figure: string): number | undefined =>
      plan.pairs.find((pair) => pair.figure === figure)?.bar;
    const wide = [...compared]
      .filter(([figure, one]) => tooWide(one, barOf(figure)))
      .map(([figure]) => figure);
    if (wide.length === 0 || round + 1 === plan.maxRounds) return { loads, compared, wide };
  }
  throw new Error("a comparison needs at least one round");
}

/** The median of one quantity over rounds. */
export function medianOf(loads: readonly Load[], what: keyof Load): number {
  return median(loads.map((load) => load[what] ?? NaN));
}
