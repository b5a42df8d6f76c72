import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { LongshoreError } from "@longshore/core";
import { constantTrace, type CsvColumns, parseRate, type Trace, traceOf } from "@longshore/lab";

/** The trace in a file, whose format is recognised, or a CSV in whose columns it is. Throws `invalid-input`. */
export async function traceFile(path: string, columns?: CsvColumns): Promise<Trace> {
  const text = await readOr(path, `the trace ${path} cannot be read`);
  return traceOf(basename(path), text, columns);
}

/**
 * A link's capacity from what a person wrote: a rate, or the file of a trace. Throws `invalid-input` naming the value and
 * what may stand there.
 */
export async function linkOf(option: string, value: string): Promise<Trace> {
  const rate = parseRate(value);
  if (rate !== undefined) return constantTrace(rate);
  const text = await readOr(
    value,
    `--${option} ${value} is neither a rate nor a file that can be read; write a rate above 0 such as 5mbit, 600kbit or 1.5Mbit/s, or the file of a trace`,
  );
  return traceOf(basename(value), text);
}

async function readOr(path: string, message: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new LongshoreError("invalid-input", "decode", message, { cause: error });
  }
}
