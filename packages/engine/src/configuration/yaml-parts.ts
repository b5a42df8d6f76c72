import * as v from "valibot";

/** An object that refuses unknown keys and says which it knows. */
export function strict<Entries extends v.ObjectEntries>(
  entries: Entries,
): v.StrictObjectSchema<Entries, v.ErrorMessage<v.StrictObjectIssue>> {
  return v.strictObject(entries, (issue) =>
    issue.expected === "never"
      ? `is an unknown key; known here: ${Object.keys(entries).join(", ")}`
      : `is ${shown(issue.input)}; expected a mapping with ${Object.keys(entries).join(", ")}`,
  );
}

/** A schema with the sentence that the reference page shows for it. */
export function about<S extends v.GenericSchema>(
  sentence: string,
  schema: S,
): v.SchemaWithPipe<readonly [S, v.DescriptionAction<v.InferOutput<S>, string>]> {
  return v.pipe(schema, v.description(sentence));
}

/** A whole number. */
export const count = (least: number, most: number): v.GenericSchema<number> =>
  v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most));
/** Milliseconds, up to a day. */
export const duration: v.GenericSchema<number> = v.pipe(v.number(), v.minValue(0), v.maxValue(86_400_000));
/** A short text. */
export const word: v.GenericSchema<string> = v.pipe(v.string(), v.minLength(1), v.maxLength(200));

/** The same object without keys that are undefined, as exact optional types want it. */
export function defined<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(object).filter(([, value]) => value !== undefined);
  // Only undefined values were removed, which is what the mapped type says.
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

/** A value as a message shows it. */
export function shown(value: unknown): string {
  const text = value === undefined ? "undefined" : (JSON.stringify(value) ?? typeof value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
