/** Traces and rates in the forms that people have them in, recognised by what is in them. */
import { LongshoreError } from "@longshore/core";
import { printable } from "@longshore/core/internal";
import {
  cellsOf,
  type CsvColumns,
  csvDialects,
  readCsv,
  readMahimahi,
  readTwoColumns,
  separatorOf,
} from "./read.ts";
import type { Trace } from "./trace.ts";

const units: Readonly<Record<string, number>> = { "": 1, k: 1e3, m: 1e6, g: 1e9 };

/** Bits per second of `5mbit`, `600kbit`, `1.5Mbit/s` or `20Mbps`; undefined for any other text. */
export function parseRate(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?|\.\d+)\s*([kmg]?)(?:bit(?:\/s|s)?|bps)$/i.exec(text.trim());
  if (!match) return undefined;
  const rate = Number(match[1]) * (units[(match[2] ?? "").toLowerCase()] ?? 1);
  return rate > 0 && Number.isFinite(rate) ? rate : undefined;
}

/** Endings of the names of columns that hold a rate, and how many bits per second one unit is. */
const endings = [
  ["mbps", 1e6],
  ["kbps", 1e3],
  ["bps", 1],
] as const;

/** Names of columns that hold the instant, with the unit in them or not: `time`, `Timestamp`, `time_s`, `elapsed (ms)`, `seconds`. */
const instants =
  /^(?:(?:time|timestamp|elapsed|t)(?:[ _]?\(?(?<unit>s|secs?|seconds?|ms|millis|milliseconds)\)?)?|(?<alone>seconds?|ms|milliseconds))$/i;
/** Without a unit, numbers above this are milliseconds of the clock: as seconds they would lie in the year 5138. */
const mostSeconds = 1e11;

/** The column of the instant in a header, if there is one. */
function instantColumn(
  header: readonly string[],
  firstRow: readonly string[],
): Pick<CsvColumns, "time" | "secondsPerUnit"> {
  for (const [index, time] of header.entries()) {
    const match = instants.exec(time);
    if (!match) continue;
    const unit = match.groups?.["unit"] ?? match.groups?.["alone"];
    const milliseconds = unit === undefined ? Number(firstRow[index]) > mostSeconds : /^m/i.test(unit);
    return { time, secondsPerUnit: milliseconds ? 1e-3 : 1 };
  }
  return {};
}

/**
 * Reads a trace whose format is recognised by its first line: one whole number (mahimahi), two columns (seconds and Mbit/s),
 * or a CSV with a header that names a rate and may name the instant (without, each row is a second); `columns` names them
 * where the header does not tell. Of several rates the first in the largest unit is read, and the trace is named after it. Throws
 * `invalid-input`.
 */
export function traceOf(name: string, text: string, columns?: CsvColumns): Trace {
  if (columns) return readCsv(name, text, columns);
  const [first = "", second = ""] = text
    .split("\n", 200)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (/^-?\d+$/.test(first)) return readMahimahi(name, text);
  if (/^-?[\d.]+(?:e[-+]?\d+)?[\s,]+-?[\d.]+(?:e[-+]?\d+)?$/i.test(first)) return readTwoColumns(name, text);
  const separator = separatorOf(first);
  const header = cellsOf(first, separator);
  const dialect = Object.values(csvDialects).find(
    ({ rate, time }) => header.includes(rate) && (time === undefined || header.includes(time)),
  );
  if (dialect) return readCsv(name, text, dialect);
  for (const [ending, bitsPerSecondPerUnit] of endings) {
    const rate = header.find((column) => column.toLowerCase().endsWith(ending));
    if (rate === undefined) continue;
    const several = header.filter((column) => /bps$/i.test(column)).length > 1;
    const named = several ? `${name} (${printable(rate)})` : name;
    return readCsv(named, text, {
      rate,
      bitsPerSecondPerUnit,
      ...instantColumn(header, cellsOf(second, separator)),
    });
  }
  const what = first === "" ? "holds no line" : `begins with "${printable(first)}"`;
  throw new LongshoreError(
    "invalid-input",
    "decode",
    `trace ${name} ${what}; a trace is one millisecond of a packet a line (mahimahi), two columns of seconds and Mbit/s, or a CSV with a column that ends in mbps, kbps or bps`,
  );
}
