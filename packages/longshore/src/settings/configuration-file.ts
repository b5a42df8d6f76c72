import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { LongshoreError } from "@longshore/core";
import { locatedYaml } from "@longshore/nodejs";
import { type ObjectSchema, pathText, problemOf, type Schema } from "./schema.ts";

/** `longshore.yaml`, checked. */
export interface ConfigurationFile {
  /** As it was named. */
  readonly file: string;
  /** Its text, by which a change is known. */
  readonly text: string;
  /** The value at a path; undefined if there is none. File names in it are already resolved against the folder of the file. */
  at(...path: readonly (string | number)[]): unknown;
  /** `longshore.yaml:12`: the line of a path. */
  where(...path: readonly (string | number)[]): string;
}

/** A file name as the configuration wrote it, relative to its folder. */
function located(folder: string, schema: Schema, value: unknown): unknown {
  if ("anyOf" in schema || "const" in schema) return value;
  if (schema.type === "string" && typeof value === "string" && schema.format !== undefined) {
    const isAddress = schema.format === "path-or-address" && /^[a-z][a-z0-9+.-]*:/i.test(value);
    return isAddress ? value : resolve(folder, value);
  }
  if (schema.type === "array" && Array.isArray(value)) {
    return value.map((item) => located(folder, schema.items, item));
  }
  if (schema.type !== "object" || typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      const known = schema.properties?.[key] ?? schema.additionalProperties;
      return [key, known === false ? inner : located(folder, known, inner)];
    }),
  );
}

/** Names of samples are no paths: a name without a folder beside the file stays as it is. */
function withRepository(value: Record<string, unknown>, raw: unknown, folder: string): void {
  const written = (raw as { models?: { repository?: unknown } }).models?.repository;
  const { models } = value as { models?: Record<string, unknown> };
  if (typeof written === "string" && models && !existsSync(resolve(folder, written))) {
    models["repository"] = written;
  }
}

/**
 * Reads `longshore.yaml`. Throws `invalid-configuration` with file, line, path and value of the first thing that is wrong.
 */
export function parseConfiguration(text: string, file: string, schema: ObjectSchema): ConfigurationFile {
  const read = locatedYaml(text, file);
  // A file that is being written is briefly empty, which means nothing.
  if (read.value === undefined) {
    throw new LongshoreError("invalid-configuration", "resolve", `${file} is empty`);
  }
  const raw = read.value;
  const where = (...path: readonly (string | number)[]): string => `${file}:${read.lineOf(path)}`;
  const problem = problemOf(schema, raw, []);
  if (problem) {
    const { path, message } = problem;
    const what = path.length === 0 ? "the file" : pathText(path);
    throw new LongshoreError("invalid-configuration", "resolve", `${where(...path)}: ${what} ${message}`);
  }
  const folder = dirname(resolve(file));
  const value = located(folder, schema, raw) as Record<string, unknown>;
  withRepository(value, raw, folder);
  return {
    file,
    text,
    where,
    at(...path) {
      let found: unknown = value;
      for (const step of path) {
        if (typeof found !== "object" || found === null || !Object.hasOwn(found, step)) return undefined;
        found = (found as Record<string | number, unknown>)[step];
      }
      return found;
    },
  };
}
