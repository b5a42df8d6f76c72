import { execFileSync } from "node:child_process";
import { cpus, totalmem } from "node:os";

/** One measured row: plain figures and words, from which the figures are computed. */
export type Row = Readonly<Record<string, string | number | boolean | null>>;

/** The result of a bench. A figure that could not be measured is left out and its part named in `notRun`. */
export interface Measured {
  readonly figures: Readonly<Record<string, number>>;
  readonly rows: readonly Row[];
  readonly notRun?: readonly string[];
}

/** The context of a bench. */
export interface BenchContext {
  /** Folder of real traces and models, when there is one. */
  readonly data: string | undefined;
  readonly seed: number;
  /** Everything after the known options, for benches with options of their own. */
  readonly args: readonly string[];
  /** Prints a line for people; figures and rows go back in the result. */
  say(line: string): void;
}

/** A bench: a name for the command line, the bars that its figures are held against, and the measurement. */
export interface Bench {
  readonly name: string;
  readonly about: string;
  /** Its own options as the usage writes them: `--quick`, or `--rounds N` for one that takes a value. */
  readonly options?: readonly string[];
  /** Figure to the bar it must keep. */
  readonly bars: Readonly<Record<string, { readonly atMost?: number; readonly atLeast?: number }>>;
  run(context: BenchContext): Promise<Measured>;
}

/** Refuses whatever a bench does not know: one that was meant for a part of it would measure all, for hours. */
export function refuseUnknown({ name, options = [] }: Bench, args: readonly string[]): void {
  for (let at = 0; at < args.length; at++) {
    const known = options.find((option) => option.split(" ")[0] === args[at]);
    if (known === undefined)
      throw new Error(
        `bench ${name} takes ${options.join(", ") || "no options of its own"}; there is no '${args[at]}'`,
      );
    if (known.includes(" ") && args[++at] === undefined) throw new Error(`${known} needs a value`);
  }
}

/** The value after `--name` among the options of a bench; undefined without it. */
export function optionOf(args: readonly string[], name: string): string | undefined {
  const at = args.indexOf(`--${name}`);
  return at < 0 ? undefined : args[at + 1];
}

/** The number after `--name`, or what is usual without it. Refuses what is no positive number. */
export function numberOf(args: readonly string[], name: string, usual: number): number {
  const value = Number(optionOf(args, name) ?? usual);
  if (Number.isFinite(value) && value > 0) return value;
  throw new Error(`--${name} wants a positive number`);
}

/**
 * The names that begin with one of the words after `--name`, with commas between; undefined without it. A word that fits none
 * is refused: a bench that measures nothing would miss no bar.
 */
export function chosenOf<T extends string>(
  args: readonly string[],
  name: string,
  known: readonly T[],
): readonly T[] | undefined {
  const words = optionOf(args, name)?.split(",");
  const unknown = words?.find((word) => !known.some((one) => one.startsWith(word)));
  if (unknown !== undefined) throw new Error(`--${name} knows ${known.join(", ")}; there is no '${unknown}'`);
  return words && known.filter((one) => words.some((word) => one.startsWith(word)));
}

/** The commit of the checkout, or `unknown`. */
export function commitOf(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  } catch {
    return "unknown";
  }
}

/** Machine, versions and commit, so that a figure can be placed. */
export function setUp(seed: number): Row {
  return {
    processor: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    commit: commitOf(),
    seed,
  };
}

/** Quantile of some numbers by linear interpolation. */
export function quantile(values: readonly number[], ratio: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const position = (sorted.length - 1) * ratio;
  const low = sorted[Math.floor(position)] ?? NaN;
  const high = sorted[Math.ceil(position)] ?? NaN;
  return low + (high - low) * (position - Math.floor(position));
}

/** Median of some numbers. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Arithmetic mean. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/**
 * The median of a paired statistic with a 95 % interval by bootstrap over the rounds (1,000 resamples, seeded), because
 * rounds on a shared machine are anything but normal.
 */
export function medianInterval(
  values: readonly number[],
  draw: () => number,
): { readonly median: number; readonly low: number; readonly high: number } {
  const medians = Array.from({ length: 1000 }, () =>
    median(values.map(() => values[Math.floor(draw() * values.length)] ?? NaN)),
  );
  return { median: median(values), low: quantile(medians, 0.025), high: quantile(medians, 0.975) };
}

/** Says a figure that is a median of rounds with its 95 % interval, which one round has none of, and gives the median. */
export function saidMedian(
  {
    say,
    figure,
    draw,
  }: { readonly say: (line: string) => void; readonly figure: string; readonly draw: () => number },
  values: readonly number[],
): number {
  const { median: middle, low, high } = medianInterval(values, draw);
  say(
    `  ${figure} ${middle.toFixed(3)} (${values.length > 1 ? `95 %: ${low.toFixed(3)}..${high.toFixed(3)}` : "one round, no interval"})`,
  );
  return middle;
}
