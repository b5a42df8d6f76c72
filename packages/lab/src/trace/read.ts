/**
 * Readers of recorded traces. They take text, never files, so that they run anywhere; each refuses what it does not
 * understand with the number of the line.
 */
import { LongshoreError } from "@longshore/core";
import { printable } from "@longshore/core/internal";
import { packetTrace, type RateEntry, rateTrace, type Trace } from "./trace.ts";

/** Most lines a trace may have, so that a wrong file does not eat the memory. */
const maxLines = 20_000_000;
/** No recording has such a gap, or carries this much: a clock was set, or the unit is another. */
export const maxGapMs = 86_400_000;
const maxMegabits = 1e6;

/** The error for a line of a trace. */
export function refuse(name: string, line: number, what: string): LongshoreError {
  return new LongshoreError("invalid-input", "decode", `${name}, line ${line}: ${what}`);
}

/** Lines that hold something, with their numbers from 1. Comments begin with `#`. */
export function* traceLines(name: string, text: string): Generator<readonly [line: string, number: number]> {
  let number = 0;
  let start = 0;
  while (start <= text.length) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline;
    number += 1;
    if (number > maxLines) throw refuse(name, number, `more than ${maxLines} lines`);
    const line = text.slice(start, end).trim();
    if (line !== "" && !line.startsWith("#")) yield [line, number];
    start = end + 1;
  }
}

/** The message for a gap in a trace that is too long. */
const gap = (ms: number): string =>
  `no entry for ${Math.round(ms / 1000)} s, more than a day: cut the quiet time out`;

function unsorted(what: string, at: string, last: string): string {
  return `the ${what} at ${at} is before the last one, at ${last}; sort the lines by time`;
}

function numberOf(name: string, line: number, word: string | undefined, what: string): number {
  const value = word === undefined || word.trim() === "" ? NaN : Number(word);
  if (!Number.isFinite(value))
    throw refuse(name, line, `${what} should be a number, not "${printable((word ?? "").slice(0, 40))}"`);
  return value;
}

/** Mahimahi: one integer a line, the millisecond at which one packet of 1,500 bytes may leave; lines may repeat. */
export function readMahimahi(name: string, text: string): Trace {
  const atMs: number[] = [];
  for (const [line, number] of traceLines(name, text)) {
    const at = numberOf(name, number, line, "the instant of a packet");
    if (at < 0)
      throw refuse(
        name,
        number,
        `the packet at ${line} ms is before the beginning; each is at 0 ms or later`,
      );
    if (!Number.isInteger(at)) throw refuse(name, number, `${line} is not a whole millisecond`);
    const last = atMs[atMs.length - 1] ?? 0;
    if (at < last) throw refuse(name, number, unsorted("packet", `${at} ms`, `${last} ms`));
    if (at - last > maxGapMs) throw refuse(name, number, gap(at - last));
    atMs.push(at);
  }
  if (atMs.length === 0) throw refuse(name, 1, "there is no packet in it");
  if (atMs[atMs.length - 1] === 0)
    throw refuse(name, 1, "all packets leave at millisecond 0, which is no rate");
  return packetTrace(name, Float64Array.from(atMs));
}

/** Two columns, seconds and Mbit/s, held until the next entry. */
export function readTwoColumns(name: string, text: string): Trace {
  const entries = entryList(name);
  for (const [line, number] of traceLines(name, text)) {
    const [seconds, rate, more] = line.split(/[\s,]+/);
    if (more !== undefined) throw refuse(name, number, "more than two columns");
    entries.add(
      number,
      numberOf(name, number, seconds, "the instant"),
      numberOf(name, number, rate, "the rate"),
    );
  }
  return entries.trace();
}

/** Which columns of a CSV to read. */
export interface CsvColumns {
  /** Column of the rate, and how many bits per second one unit of it is. */
  readonly rate: string;
  readonly bitsPerSecondPerUnit: number;
  /** Column of the instant (seconds, or `YYYY.MM.DD_hh.mm.ss`); undefined: one row a second. */
  readonly time?: string;
  /** How many seconds one unit of that column is, where it holds numbers; default 1. */
  readonly secondsPerUnit?: number;
  /** Only rows in which these columns have these values. */
  readonly where?: Readonly<Record<string, string>>;
}

/** The data sets that are read by name. */
export const csvDialects: {
  readonly ucc5gDown: CsvColumns;
  readonly gophersWalking: CsvColumns;
} = {
  /** 5G-production-dataset of UCC: kbit/s, one row a second or so. */
  ucc5gDown: { rate: "DL_bitrate", bitsPerSecondPerUnit: 1000, time: "Timestamp" },
  /** 5Gophers walking trace: Mbit/s, one row a second. */
  gophersWalking: { rate: "throughput_mbps", bitsPerSecondPerUnit: 1e6 },
};

/** Rows of a CSV with a header. Rows that share an instant are averaged. */
export function readCsv(name: string, text: string, columns: CsvColumns): Trace {
  const entries = entryList(name);
  let rows = 0;
  for (const [row, number] of csvRows(name, text)) {
    if (columns.where && !Object.entries(columns.where).every(([key, value]) => row.get(key) === value))
      continue;
    const rate = numberOf(name, number, row.get(columns.rate), columns.rate) * columns.bitsPerSecondPerUnit;
    const seconds =
      columns.time === undefined
        ? rows
        : secondsOf(name, number, row.get(columns.time), columns.secondsPerUnit);
    rows += 1;
    entries.add(number, seconds, rate / 1e6);
  }
  return entries.trace();
}

/** Numbers of one column, such as round-trip times. */
export function readColumn(name: string, text: string, column: string): readonly number[] {
  const values: number[] = [];
  for (const [row, number] of csvRows(name, text))
    values.push(numberOf(name, number, row.get(column), column));
  return values;
}

/** Numbers separated by commas or white space. */
export function readNumbers(name: string, text: string): readonly number[] {
  const values: number[] = [];
  for (const [line, number] of traceLines(name, text)) {
    for (const word of line.split(/[\s,]+/))
      if (word !== "") values.push(numberOf(name, number, word, "each value"));
  }
  return values;
}

/** The separator between the cells of a CSV: a tab, where there is none a semicolon, where its header has neither a comma. */
export function separatorOf(header: string): string {
  const plain = header.replaceAll(/"[^"]*"/g, "");
  return ["\t", ";"].find((one) => plain.includes(one)) ?? ",";
}

/** Cells of a line, without the blanks around them. One that stands in quotes may hold separators, and quotes that are doubled. */
export function cellsOf(line: string, separator: string): readonly string[] {
  if (!line.includes('"')) return line.split(separator).map((cell) => cell.trim());
  const cells: string[] = [];
  for (let at = 0; at <= line.length; at++) {
    const quoted = /^\s*"((?:[^"]|"")*)"\s*/.exec(line.slice(at));
    const from = at + (quoted?.[0].length ?? 0);
    const end = line.indexOf(separator, from);
    at = end < 0 ? line.length : end;
    cells.push((quoted ? (quoted[1] ?? "").replaceAll('""', '"') : "") + line.slice(from, at).trim());
  }
  return cells;
}

/** Rows of a CSV with a header as maps from column to cell, with the number of the line. */
export function* csvRows(
  name: string,
  text: string,
): Generator<readonly [ReadonlyMap<string, string>, number]> {
  let header: readonly string[] | undefined;
  let separator = ",";
  for (const [line, number] of traceLines(name, text)) {
    if (!header) separator = separatorOf(line);
    const cells = cellsOf(line, separator);
    if (!header) {
      header = cells;
      if (new Set(header).size !== header.length) throw refuse(name, number, "a column name appears twice");
      continue;
    }
    if (cells.length !== header.length) {
      throw refuse(name, number, `${cells.length} cells where the header has ${header.length}`);
    }
    yield [new Map(header.map((key, index) => [key, cells[index] ?? ""])), number];
  }
  if (!header) throw refuse(name, 1, "there is no header");
}

/**
 * Seconds from a number of units or from a time stamp, with or without `Z` or an offset; only differences matter, so the
 * calendar is read as UTC without one.
 */
export function secondsOf(name: string, line: number, word: string | undefined, secondsPerUnit = 1): number {
  const stamp =
    /^(\d{4})[.-](\d\d)[.-](\d\d)[_ T](\d\d)[.:](\d\d)[.:](\d\d(?:\.\d+)?)(?:Z|([+-]\d\d):?(\d\d))?$/.exec(
      word ?? "",
    );
  if (!stamp) return secondsPerUnit * numberOf(name, line, word, "the instant");
  const [, year, month, day, hour, minute, second] = stamp.map(Number);
  const [, , , , , , , east = "+00", eastMinutes = "00"] = stamp;
  const offsetMinutes = 60 * Number(east) + (east.startsWith("-") ? -1 : 1) * Number(eastMinutes);
  const utcMs = Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, (minute ?? 0) - offsetMinutes);
  return utcMs / 1000 + (second ?? 0);
}

/** Collects entries in order; those that share an instant are averaged. */
function entryList(name: string): {
  add(line: number, seconds: number, megabits: number): void;
  trace(): Trace;
} {
  const fromMs: number[] = [];
  const sums: number[] = [];
  const counts: number[] = [];
  return {
    add(line, seconds, megabits) {
      if (megabits < 0 || megabits > maxMegabits)
        throw refuse(name, line, `a rate of ${megabits} Mbit/s, which is not from 0 to ${maxMegabits}`);
      const last = fromMs.length - 1;
      const atMs = seconds * 1000;
      if (last >= 0 && atMs < (fromMs[last] ?? 0))
        throw refuse(name, line, unsorted("rate", `${seconds} s`, `${(fromMs[last] ?? 0) / 1000} s`));
      if (last >= 0 && atMs - (fromMs[last] ?? 0) > maxGapMs)
        throw refuse(name, line, gap(atMs - (fromMs[last] ?? 0)));
      if (last >= 0 && atMs === fromMs[last]) {
        sums[last] = (sums[last] ?? 0) + megabits;
        counts[last] = (counts[last] ?? 0) + 1;
        return;
      }
      fromMs.push(atMs);
      sums.push(megabits);
      counts.push(1);
    },
    trace() {
      const first = fromMs[0];
      if (first === undefined) throw refuse(name, 1, "there is no entry in it");
      const entries = fromMs.map((at, index): RateEntry => ({
        fromMs: at - first,
        bitsPerSecond: ((sums[index] ?? 0) / (counts[index] ?? 1)) * 1e6,
      }));
      // The last entry holds for as long as an entry does on average.
      const spanMs = (fromMs[fromMs.length - 1] ?? first) - first;
      return rateTrace(name, entries, spanMs + (entries.length > 1 ? spanMs / (entries.length - 1) : 1000));
    },
  };
}
