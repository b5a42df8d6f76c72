import { LongshoreError } from "@longshore/core";
import * as v from "valibot";

const shownCharacters = 60;

function shown(value: unknown): string {
  if (value === undefined) return "missing";
  if (typeof value === "number") return String(value);
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > shownCharacters ? `${text.slice(0, shownCharacters)}...` : text;
}

/**
 * Checks the parameters of a transform against its schema; nothing given means no parameters. Throws
 * `invalid-configuration` that names the first parameter at fault, its value and what is allowed.
 */
export function parseParameters<S extends v.GenericSchema>(
  transform: string,
  schema: S,
  parameters: unknown,
): v.InferOutput<S> {
  const result = v.safeParse(schema, parameters ?? {});
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue) ?? "parameters";
  const unknownKey = issue.type === "strict_object" && issue.expected === "never";
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    unknownKey
      ? `transform ${transform}: there is no parameter ${path}`
      : `transform ${transform}: parameter ${path} is ${shown(issue.input)}; ${issue.message}`,
  );
}

/** A whole number of a range, both ends included. */
export function whole(least: number, most: number): v.GenericSchema<number> {
  const message = `allowed is a whole number from ${least} to ${most}`;
  return v.pipe(v.number(message), v.integer(message), v.minValue(least, message), v.maxValue(most, message));
}

/** A finite number of a range, both ends included. */
export function real(least: number, most: number): v.GenericSchema<number> {
  const message = `allowed is a number from ${least} to ${most}`;
  return v.pipe(v.number(message), v.finite(message), v.minValue(least, message), v.maxValue(most, message));
}

/** One of some words. */
export function oneOf<const W extends string>(...words: readonly W[]): v.GenericSchema<W> {
  return v.picklist(words, `allowed is one of ${words.join(", ")}`);
}

/** True or false. */
export function flag(): v.GenericSchema<boolean> {
  return v.boolean("allowed is true or false");
}

/** A text of at most this many characters. */
export function text(most: number): v.GenericSchema<string> {
  const message = `allowed is a text of at most ${most} characters`;
  return v.pipe(v.string(message), v.maxLength(most, message));
}

/** A list of texts, with at most this many entries. */
export function texts(most: number): v.GenericSchema<string[]> {
  const message = `allowed is a list of at most ${most} texts`;
  return v.pipe(v.array(v.string(message), message), v.maxLength(most, message));
}

/** The longest side of an image that transforms make. */
export const maxSide = 32_768;
