/**
 * Parameters of messages and tensors. Read them with `own`, since names come from outside. A `bigint` only where a whole number is
 * beyond 2^53.
 */
export type Parameters = Readonly<Record<string, string | number | bigint | boolean>>;

/** The JSON of plain data without `undefined`, as `JSON.stringify` writes it, and of a `bigint`, which that refuses, its digits. */
export function exactJson(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(exactJson).join(",")}]`;
  return `{${Object.entries(value)
    .map(([key, item]) => `${JSON.stringify(key)}:${exactJson(item)}`)
    .join(",")}}`;
}
