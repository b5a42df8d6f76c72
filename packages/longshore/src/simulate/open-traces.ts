import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { LongshoreError } from "@longshore/core";
import {
  arrivalPattern,
  carrying,
  constantTrace,
  parseRate,
  rateUnits,
  readArrivals,
  simulationLimits,
  stretched,
  type Trace,
  type TraceSource,
} from "@longshore/lab";
import { traceFile } from "../options/link-of.ts";

/** The two directions of a link. */
export interface LinkTraces {
  readonly up: Trace;
  readonly down: Trace;
}

/** Names that are never traces. */
const notTraces = /^(?:\.|readme|licen[cs]e|copying)|\.(?:md|json|ya?ml|html)$/i;

async function kindOf(path: string): Promise<"file" | "folder" | undefined> {
  try {
    return (await stat(path)).isDirectory() ? "folder" : "file";
  } catch {
    return undefined;
  }
}

/** One direction: a rate, a file, or columns of a CSV. Throws `invalid-input`. */
export async function traceFrom(source: TraceSource): Promise<Trace> {
  if (typeof source !== "string") {
    const { file, rate, unit, time, where } = source;
    return traceFile(file, {
      rate,
      bitsPerSecondPerUnit: rateUnits[unit],
      ...(time === undefined ? {} : { time }),
      ...(where === undefined ? {} : { where }),
    });
  }
  const rate = parseRate(source);
  if (rate !== undefined) return constantTrace(rate);
  const kind = await kindOf(source);
  if (kind === "file") return traceFile(source);
  throw new LongshoreError(
    "invalid-input",
    "decode",
    kind === "folder"
      ? `${source} is a folder where one trace is wanted; name a file of it`
      : `${source} is neither a rate nor a file or folder that can be read; write a rate above 0 such as 5mbit, or the file of a trace`,
  );
}

/**
 * The link of an uplink: a downlink of four times a constant rate, the recorded downlink that lies beside `x.up` as `x.down`,
 * or else the same trace again.
 */
export async function linkFrom(up: TraceSource, down: TraceSource | undefined): Promise<LinkTraces> {
  const trace = carrying(await traceFrom(up));
  return { up: trace, down: carrying(await downlinkOf(up, down, trace)) };
}

async function downlinkOf(up: TraceSource, down: TraceSource | undefined, trace: Trace): Promise<Trace> {
  if (down !== undefined) return traceFrom(down);
  if (typeof up !== "string") return trace;
  const rate = parseRate(up);
  if (rate !== undefined) return constantTrace(4 * rate);
  const pair = up.replace(/\.up$/, ".down");
  return pair !== up && (await kindOf(pair)) === "file" ? traceFile(pair) : trace;
}

/**
 * All links that are to be replayed, of files, rates and folders; of a folder, every file that is a trace, `x.down` only as the
 * downlink of `x.up`. `skip` is called for files of a folder that are no trace. Throws `invalid-input`.
 */
export async function linksFrom(
  sources: readonly TraceSource[],
  skip: (text: string) => void,
): Promise<readonly LinkTraces[]> {
  const links: LinkTraces[] = [];
  for (const source of sources) {
    if (
      typeof source !== "string" ||
      parseRate(source) !== undefined ||
      (await kindOf(source)) !== "folder"
    ) {
      links.push(await linkFrom(source, undefined));
      continue;
    }
    const names = (await readdir(source)).filter((name) => !notTraces.test(name)).sort();
    const before = links.length;
    for (const name of names) {
      if (name.endsWith(".down") && names.includes(name.replace(/\.down$/, ".up"))) continue;
      const path = join(source, name);
      if ((await kindOf(path)) !== "file") continue;
      try {
        links.push(await linkFrom(path, undefined));
      } catch (error) {
        skip(`left out: ${LongshoreError.from(error, "decode", name).message}`);
      }
    }
    if (links.length === before)
      throw new LongshoreError("invalid-input", "decode", `the folder ${source} holds no trace`);
  }
  if (links.length > simulationLimits.traces) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${links.length} traces; at most ${simulationLimits.traces} are replayed at once`,
    );
  }
  return links;
}

/** The first `count` arrivals of a pattern or a file, with every gap times `stretch`. Throws `invalid-input`. */
export async function arrivalsFrom(
  source: string,
  count: number,
  seed: number,
  stretch: number,
): Promise<{ readonly name: string; readonly arrivalsMs: readonly number[] }> {
  const pattern = arrivalPattern(source, count, seed);
  const suffix = stretch === 1 ? "" : ` x${stretch}`;
  if (pattern) return { name: `${source}${suffix}`, arrivalsMs: stretched(pattern, stretch) };
  let text: string;
  try {
    text = await readFile(source, "utf8");
  } catch (error) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `arrivals ${source} is neither a pattern nor a file that can be read; write every:MS, poisson:RATE, or a CSV of instants`,
      { cause: error },
    );
  }
  const arrivalsMs = stretched(readArrivals(basename(source), text), stretch).slice(0, count);
  return { name: `${basename(source)}${suffix}`, arrivalsMs };
}
