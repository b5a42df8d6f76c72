import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { LongshoreError } from "@longshore/core";
import {
  constantTrace,
  csvDialects,
  readCsv,
  readMahimahi,
  readTwoColumns,
  type Trace,
} from "@longshore/lab";

const units: Readonly<Record<string, number>> = { "": 1, k: 1e3, m: 1e6, g: 1e9 };

/** Bits per second of `5mbit`, `600kbit`, `1.5Mbit/s` or `20Mbps`; undefined for anything else. */
export function rateOf(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?|\.\d+)\s*([kmg]?)(?:bit(?:\/s|s)?|bps)$/i.exec(text.trim());
  if (!match) return undefined;
  const rate = Number(match[1]) * (units[(match[2] ?? "").toLowerCase()] ?? 1);
  return rate > 0 && Number.isFinite(rate) ? rate : undefined;
}

/**
 * A link's capacity from what a person wrote: a rate, or the file of a trace. Throws `invalid-input` naming the value and
 * what may stand there.
 */
export async function linkOf(option: string, value: string): Promise<Trace> {
  const rate = rateOf(value);
  if (rate !== undefined) return constantTrace(rate);
  let text: string;
  try {
    text = await readFile(value, "utf8");
  } catch (error) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `--${option} ${value} is neither a rate nor a file that can be read; write a rate above 0 such as 5mbit, 600kbit or 1.5Mbit/s, or the file of a trace`,
      { cause: error },
    );
  }
  return traceOf(basename(value), text);
}

/**
 * Reads a trace whose format is recognised by its first line: one whole number (mahimahi), two columns (seconds and Mbit/s),
 * or a CSV with a header that names a rate. Throws `invalid-input`.
 */
export function traceOf(name: string, text: string): Trace {
  const first =
    text
      .split("\n", 200)
      .find((line) => line.trim() !== "" && !line.startsWith("#"))
      ?.trim() ?? "";
  if (/^\d+$/.test(first)) return readMahimahi(name, text);
  if (/^-?[\d.]+(?:e[-+]?\d+)?[\s,]+-?[\d.]+(?:e[-+]?\d+)?$/i.test(first)) return readTwoColumns(name, text);
  const columns = first.split(",").map((column) => column.trim());
  const dialect = Object.values(csvDialects).find(
    ({ rate, time }) => columns.includes(rate) && (time === undefined || columns.includes(time)),
  );
  if (dialect) return readCsv(name, text, dialect);
  for (const [ending, bitsPerSecondPerUnit] of [
    ["mbps", 1e6],
    ["kbps", 1e3],
    ["bps", 1],
  ] as const) {
    const rate = columns.find((column) => column.toLowerCase().endsWith(ending));
    if (rate !== undefined) return readCsv(name, text, { rate, bitsPerSecondPerUnit });
  }
  throw new LongshoreError(
    "invalid-input",
    "decode",
    `trace ${name} begins with "${first.slice(0, 60)}"; a trace is one millisecond of a packet a line (mahimahi), two columns of seconds and Mbit/s, or a CSV with a column that ends in mbps, kbps or bps`,
  );
}
