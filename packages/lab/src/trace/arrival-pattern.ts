import { LongshoreError } from "@longshore/core";
import { poissonArrivals, steadyArrivals } from "./arrivals.ts";

/**
 * Arrivals of a pattern that people write: `every:500` (milliseconds), `poisson:2` (a second). Undefined for anything that
 * does not begin like one. Throws `invalid-input` for a figure that is none.
 */
export function arrivalPattern(text: string, count: number, seed: number): readonly number[] | undefined {
  const match = /^(every|poisson):(.*)$/.exec(text);
  if (!match) return undefined;
  const value = Number(match[2]);
  const [unit, least, most] = match[1] === "every" ? ["milliseconds", 0.1, 3.6e6] : ["a second", 1e-4, 1e4];
  if (match[2] === "" || !(value >= Number(least) && value <= Number(most))) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `arrivals ${text}: ${match[1]}: wants a number from ${least} to ${most} (${unit}), such as every:500 or poisson:2`,
    );
  }
  return match[1] === "every" ? steadyArrivals(value, count) : poissonArrivals(value, count, seed);
}
