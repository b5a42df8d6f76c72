/** When requests come. All arrivals are instants in milliseconds from 0, in order. */
import { LongshoreError, seededRandom } from "@longshore/core";
import { exponential } from "@longshore/core/internal";
import { csvRows, maxGapMs, refuse, secondsOf, traceLines } from "./read.ts";

/** One request every `gapMs`. */
export function steadyArrivals(gapMs: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index * gapMs);
}

/** Independent requests at a mean rate. */
export function poissonArrivals(perSecond: number, count: number, seed: number): readonly number[] {
  const random = seededRandom(seed);
  let atMs = 0;
  return Array.from({ length: count }, () => (atMs += exponential(random, 1000 / perSecond)));
}

/**
 * Instants (seconds, or time stamps) of a CSV with a header, or of a list without one. The column is the first whose name
 * mentions time, else the first; if there is an end and a duration, the request came that much before its end, and the rows are
 * put in order. Throws `invalid-input` with the line for any other text, for instants before 0, for time that goes back and for
 * gaps of more than a day.
 */
export function readArrivals(name: string, text: string): readonly number[] {
  const instants = hasHeader(name, text) ? instantsOfCsv(name, text) : instantsOfList(name, text);
  const first = instants[0];
  if (first === undefined) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${name} holds no arrival; each line states one, in seconds from the beginning or as a time stamp`,
    );
  }
  return instants.map((at) => at - first);
}

/** The same arrivals with every gap times `factor`: another load, the same burstiness. */
export function stretched(arrivals: readonly number[], factor: number): readonly number[] {
  return arrivals.map((at) => at * factor);
}

/** A header is a first line that begins with neither a number nor a time stamp. */
function hasHeader(name: string, text: string): boolean {
  const [first] = traceLines(name, text);
  return first !== undefined && !/^-?[\d.]/.test(first[0]);
}

function instantsOfList(name: string, text: string): readonly number[] {
  const instants = sortedInstants(name);
  for (const [line, number] of traceLines(name, text)) {
    instants.add(number, secondsOf(name, number, line.split(",", 1)[0]));
  }
  return instants.values;
}

function instantsOfCsv(name: string, text: string): readonly number[] {
  const instants = sortedInstants(name);
  const began: number[] = [];
  for (const [row, number] of csvRows(name, text)) {
    const columns = [...row.keys()];
    const column = columns.find((one) => /time|arriv/i.test(one)) ?? columns[0] ?? "";
    const seconds = secondsOf(name, number, row.get(column));
    if (!/^end/i.test(column) || !row.has("duration")) instants.add(number, seconds);
    else began.push((seconds - secondsOf(name, number, row.get("duration"))) * 1000);
  }
  return began.length > 0 ? began.sort((a, b) => a - b) : instants.values;
}

const arrivalGap = (ms: number): string =>
  `no arrival for ${Math.round(ms / 1000)} s, more than a day: cut the quiet time out`;

function sortedInstants(name: string): { add(line: number, seconds: number): void; values: number[] } {
  const values: number[] = [];
  return {
    values,
    add(line, seconds) {
      const atMs = seconds * 1000;
      const lastMs = values[values.length - 1] ?? atMs;
      if (atMs < 0)
        throw refuse(
          name,
          line,
          `the arrival at ${seconds} s is before the beginning; arrivals are at 0 s or later`,
        );
      if (atMs - lastMs > maxGapMs) throw refuse(name, line, arrivalGap(atMs - lastMs));
      if (atMs < (values[values.length - 1] ?? -Infinity)) {
        const before = lastMs / 1000;
        throw refuse(
          name,
          line,
          `the arrival at ${seconds} s is before the last one, at ${before} s; sort the arrivals by time`,
        );
      }
      values.push(atMs);
    },
  };
}
