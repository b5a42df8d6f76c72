import { LongshoreError } from "@longshore/core";
import { nicest } from "./yield-cores.ts";

/** Checks a niceness from an option. Throws `invalid-configuration`. */
export function checkNiceness(niceness: number): number {
  if (Number.isInteger(niceness) && niceness >= 0 && niceness <= nicest) return niceness;
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    `niceness is ${niceness}; it must be a whole number from 0 to ${nicest}`,
  );
}
