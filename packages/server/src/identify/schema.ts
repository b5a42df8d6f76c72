import { LongshoreError } from "@longshore/core";
import * as v from "valibot";
import { allRights, type Right } from "./identity.ts";
import { isUriPattern } from "./uri-pattern.ts";

/** An object that refuses unknown keys and says which it knows. */
export function strictKeys<Entries extends v.ObjectEntries>(
  entries: Entries,
): v.StrictObjectSchema<Entries, v.ErrorMessage<v.StrictObjectIssue>> {
  return v.strictObject(entries, (issue) =>
    issue.expected === "never"
      ? `is an unknown key; known here: ${Object.keys(entries).join(", ")}`
      : `must be a mapping with ${Object.keys(entries).join(", ")}`,
  );
}

/** A schema with the sentence that the reference page shows for it. */
export function withMeaning<S extends v.GenericSchema>(
  sentence: string,
  schema: S,
): v.SchemaWithPipe<readonly [S, v.DescriptionAction<v.InferOutput<S>, string>]> {
  return v.pipe(schema, v.description(sentence));
}

/** Names that are tenants: they become labels of metrics and parts of keys, so they are plain and short. */
export const tenantName: v.GenericSchema<string> = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "must be a tenant: [A-Za-z0-9._-], 1 to 64"),
);

/** Rights, at least one. */
export const rightList: v.GenericSchema<readonly Right[]> = v.pipe(
  v.array(v.picklist(allRights, `must be a right: ${allRights.join(", ")}`)),
  v.minLength(1, "must name at least one right"),
);

/** A SPIFFE ID, or all below one. */
export const uriPattern: v.GenericSchema<string> = v.pipe(
  v.string(),
  v.check(isUriPattern, "must be a SPIFFE ID such as spiffe://example/edge, or end in /*"),
);

/** Any short text. */
export const wordKey: v.GenericSchema<string> = v.pipe(v.string(), v.minLength(1), v.maxLength(512));

/** Whole milliseconds from `least` to a year. */
export function durationKey(least: number): v.GenericSchema<number> {
  return v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(366 * 86_400_000));
}

/** Rights as they are kept. */
export function rightSet(rights: readonly Right[]): ReadonlySet<Right> {
  return new Set(rights);
}

/**
 * Checks plain data against a schema. Throws `invalid-configuration` with the path of the first thing that is wrong, below
 * `within` where that is stated.
 */
export function checked<Schema extends v.GenericSchema>(
  schema: Schema,
  value: unknown,
  what: string,
  within?: string,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = [within, v.getDotPath(issue)].filter((part) => typeof part === "string").join(".");
  throw badIdentity(`${what}: ${path === "" ? "" : `${path} `}${issue.message}`);
}

/** The error for a problem in a file of the operator's. */
export function badIdentity(message: string, cause?: unknown): LongshoreError {
  return new LongshoreError(
    "invalid-configuration",
    "resolve",
    message,
    cause === undefined ? {} : { cause },
  );
}
