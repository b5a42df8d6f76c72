import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readArrivals, stretched } from "@longshore/lab";

/** A recorded series of requests to functions in a cloud, with its bursts. */
const trace = ["traces", "requests", "azure-functions-2021-first200.csv"];

/**
 * The recorded arrivals at another mean rate, repeated until there are enough. Undefined without the data folder.
 */
export function burstyArrivals(
  data: string | undefined,
  perSecond: number,
  count: number,
  seed: number,
): readonly number[] | undefined {
  if (data === undefined) return undefined;
  const recorded = readArrivals("functions", readFileSync(join(data, ...trace), "utf8"));
  const lastMs = recorded.at(-1) ?? 0;
  const meanGapMs = lastMs / (recorded.length - 1);
  const all: number[] = [];
  const offset = seed % recorded.length;
  for (let index = 0; index < count; index++) {
    const at = (offset + index) % recorded.length;
    const turns = Math.floor((offset + index) / recorded.length);
    all.push((recorded[at] ?? 0) + turns * (lastMs + meanGapMs));
  }
  const first = all[0] ?? 0;
  return stretched(
    all.map((at) => at - first),
    1000 / perSecond / meanGapMs,
  );
}
