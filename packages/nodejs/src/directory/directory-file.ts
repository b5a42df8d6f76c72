import { type Json, LongshoreError } from "@longshore/core";
import { parseDocument } from "yaml";

/** The largest file that is read, in characters. */
const maxFileLength = 64 * 2 ** 20;

/** The end of an entry that states none: that of the year 9999. */
export const endOfTimeMs: number = 253_402_300_799_999;

/** The fields of an entry that an operator who writes it by hand may leave out. */
const defaults = {
  schemaVersion: 1,
  serial: 1,
  notBeforeMs: 0,
  notAfterMs: endOfTimeMs,
  tier: "edge",
  zone: "unknown",
  trust: "listed",
} as const;

function bad(message: string, cause?: unknown): LongshoreError {
  return new LongshoreError("invalid-configuration", "resolve", message, { cause });
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function plain(text: string, what: string): unknown {
  if (text.length > maxFileLength) throw bad(`${what} has more than ${maxFileLength} characters`);
  // JSON is YAML, but its own parser is a hundred times as fast, and large files are JSON.
  if (/^\s*[[{]/.test(text)) {
    try {
      return JSON.parse(text) as unknown;
    } catch (thrown) {
      throw bad(`${what} is not valid JSON`, thrown);
    }
  }
  const document = parseDocument(text, { version: "1.2", schema: "core", uniqueKeys: true, merge: false });
  const [error] = document.errors;
  if (error) throw bad(`${what} is not valid YAML: ${error.message.split("\n")[0] ?? ""}`);
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (thrown) {
    throw bad(`${what} cannot be read: aliases are not allowed`, thrown);
  }
}

/** An instant in an operator's form: milliseconds stay, dates such as `2030-01-31` become milliseconds. */
function instants(entry: Readonly<Record<string, unknown>>, what: string): Record<string, unknown> {
  const { notBefore, notAfter, ...rest } = entry;
  const read = (value: unknown, field: string): Record<string, number> => {
    if (value === undefined) return {};
    const atMs = typeof value === "string" ? Date.parse(value) : NaN;
    if (!Number.isFinite(atMs)) throw bad(`${what}: ${field} is not a time such as 2030-01-31T12:00:00Z`);
    return { [`${field}Ms`]: atMs };
  };
  return { ...rest, ...read(notBefore, "notBefore"), ...read(notAfter, "notAfter") };
}

/** An entry as an operator writes it, with what it leaves out. Not checked further. */
function writtenEntry(entry: unknown, what: string): object {
  if (!isObject(entry)) throw bad(`${what} must be an object`);
  return { ...defaults, ...instants(entry, what) };
}

/** The content of a directory file. */
export interface DirectoryText {
  readonly records: readonly Json[];
  /** The highest serial and revision that were ever signed into the file, also of what was taken out of it; 0 where it says none. */
  readonly lastSerial: number;
  readonly lastRevision: number;
}

/**
 * Reads the text of a directory file, YAML or JSON: `{schemaVersion: 1, entries: [...]}`, where each is either
 * `{body, signature}` as `longshore directory sign` writes it, or the fields of an entry, in which those that have an
 * obvious default may be missing; beside them a list `aliases` of what `longshore rollout sign` wrote, and `lastSerial` and
 * `lastRevision`. Throws `invalid-configuration` when the text as a whole cannot be read; single entries are checked by the
 * directory.
 *
 * @example
 * ```ts
 * import { parseDirectoryFile } from "@longshore/nodejs";
 *
 * const text = "schemaVersion: 1\nentries: [{ id: cloud, address: 'http://10.0.0.9:8000', tier: cloud }]";
 * console.log(parseDirectoryFile(text, "endpoints.yaml").records.length); // 1
 * ```
 */
export function parseDirectoryFile(text: string, what: string): DirectoryText {
  const value = plain(text, what);
  if (!isObject(value) || value["schemaVersion"] !== 1 || !Array.isArray(value["entries"])) {
    throw bad(`${what} must have schemaVersion: 1 and a list called entries`);
  }
  const aliases: unknown = value["aliases"] ?? [];
  if (!Array.isArray(aliases)) throw bad(`${what}: aliases must be a list`);
  const last = (field: "lastSerial" | "lastRevision"): number => {
    const number = value[field] ?? 0;
    if (typeof number === "number" && Number.isSafeInteger(number) && number >= 0) return number;
    throw bad(`${what}: ${field} must be a whole number from 0`);
  };
  const seen = new Set<unknown>();
  const endpoints = value["entries"].map((entry: unknown, index): Json => {
    const where = `${what}: entries[${index}]`;
    const body = isObject(entry) && "body" in entry ? entry["body"] : entry;
    const id = isObject(body) ? body["id"] : undefined;
    if (seen.has(id)) throw bad(`${where} has the id of another one`);
    seen.add(id);
    const signed = isObject(entry) && "body" in entry ? entry : { body: writtenEntry(entry, where) };
    // YAML and JSON give JSON; readers of records refuse unknown fields.
    return { signed } as unknown as Json;
  });
  return {
    records: [...endpoints, ...aliases.map((alias: unknown) => ({ alias }) as unknown as Json)],
    lastSerial: last("lastSerial"),
    lastRevision: last("lastRevision"),
  };
}
