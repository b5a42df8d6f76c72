/** When requests come. All arrivals are instants in milliseconds from 0, in order. */
import { exponential, LongshoreError, seededRandom } from "@longshore/core";
import { secondsOf } from "./read.ts";

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
 * Instants from the first column of a CSV with a header: seconds or time stamps. Throws `invalid-input` with the line on
 * anything else and on time that goes back.
 */
export function readArrivals(name: string, text: string): readonly number[] {
  const lines = text.split("\n");
  const instants: number[] = [];
  for (let index = 1; index < lines.length; index++) {
    const line = lines[index]?.trim() ?? "";
    if (line === "") continue;
    const atMs = secondsOf(name, index + 1, line.split(",", 1)[0]) * 1000;
    if (atMs < (instants[instants.length - 1] ?? -Infinity)) {
      throw new LongshoreError(
        "invalid-input",
        "decode",
        `trace ${name}, line ${index + 1}: goes back in time`,
      );
    }
    instants.push(atMs);
  }
  const first = instants[0];
  if (first === undefined) {
    throw new LongshoreError("invalid-input", "decode", `trace ${name}: there is no arrival in it`);
  }
  return instants.map((at) => at - first);
}

/** The same arrivals with every gap times `factor`: another load, the same burstiness. */
export function stretched(arrivals: readonly number[], factor: number): readonly number[] {
  return arrivals.map((at) => at * factor);
}
