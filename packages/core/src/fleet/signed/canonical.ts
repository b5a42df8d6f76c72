import { type Json, LongshoreError } from "../../words/base/index.ts";

function refused(what: string): LongshoreError {
  return new LongshoreError("invalid-input", "encode", `${what} has no canonical form`);
}

function textOf(text: string): string {
  // Lone surrogates have no bytes in UTF-8, so two texts would have the same signature.
  if (/\p{Surrogate}/u.test(text)) throw refused("text with half of a surrogate pair");
  return JSON.stringify(text);
}

/**
 * The canonical text of a JSON value: no blanks, keys in the order of their UTF-16 code units, numbers and escapes as ECMAScript writes
 * them (RFC 8785, A. Rundgren, B. Jordan, S. Erdtman, "JSON Canonicalization Scheme"). Undefined fields are left out. Throws
 * `invalid-input` for values that JSON cannot represent.
 */
export function canonicalJson(value: Json | undefined): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") return textOf(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw refused("a number that is not finite");
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item as Json)).join(",")}]`;
  if (typeof value !== "object") throw refused(`a value of type ${typeof value}`);
  const fields = Object.entries(value as Readonly<Record<string, Json | undefined>>)
    .filter(([, item]) => item !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, item]) => `${textOf(key)}:${canonicalJson(item)}`);
  return `{${fields.join(",")}}`;
}
