import { LongshoreError } from "../base/index.ts";
import type { ModelDescription } from "./model.ts";

/**
 * A model that gives any number of answers cannot serve a request for one: throws `unsupported`, and names the call to use
 * instead (`instead`).
 */
export function checkSingle({ name, decoupled }: ModelDescription, instead: string): void {
  if (decoupled !== true) return;
  const what = `model ${name} gives any number of answers to a request; use ${instead}`;
  throw new LongshoreError("unsupported", "admission", what);
}

/** A variant that no endpoint has is the caller's mistake, not a lack of endpoints: throws `unknown-variant`. */
export function checkVariant({ name, variants }: ModelDescription, asked: string | undefined): void {
  if (asked === undefined || variants.some((variant) => variant.name === asked)) return;
  const known = variants.map((variant) => variant.name).join(", ");
  throw new LongshoreError("unknown-variant", "resolve", `${name} has no variant ${asked}; it has ${known}`);
}
