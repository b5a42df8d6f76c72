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
  const every = match[1] === "every";
  const [least, most] = every ? [0.1, 3.6e6] : [1e-4, 1e4];
  if (match[2] === "" || !(value >= least && value <= most)) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `arrivals ${text}: ${match[1]}: wants a number from ${least} to ${most} (${every ? "milliseconds" : "a second"}), such as every:500 or poisson:2`,
    );
  }
  return every ? steadyArrivals(value, count) : poissonArrivals(value, count, seed);
}
