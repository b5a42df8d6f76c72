import { LongshoreError } from "../../words/base/index.ts";
import { maxDepth } from "../../words/json/index.ts";

/**
 * Parses JSON that came from elsewhere, all but messages with tensors, as strictly as those. The platform's reader is many
 * times as quick as one of ours, but takes nesting without end, and the last of several equal keys. So the text is looked
 * through first, for how deep it is and how much it holds; and its members are counted: where what was read has fewer, a key
 * came twice.
 */

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/** The end of the text that begins at `from`, after its quote; the end of all if it has none. */
function closingQuote(text: string, from: number): number {
  for (let at = from; ; at++) {
    at = text.indexOf('"', at);
    if (at < 0) return text.length;
    let slashes = 0;
    while (text.charCodeAt(at - 1 - slashes) === 0x5c) slashes += 1;
    if (slashes % 2 === 0) return at;
  }
}

/** Members of all objects in it. As deep as its text, which was looked at before. */
function membersOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const items = Array.isArray(value) ? (value as readonly unknown[]) : Object.values(value);
  let members = Array.isArray(value) ? 0 : items.length;
  for (const item of items) members += membersOf(item);
  return members;
}

/**
 * Parses JSON. Throws `invalid-input` for what is none, is nested more than 32 deep or has a key twice in one object; the
 * message holds nothing of the text.
 *
 * @param mostValues More values than these are refused, too, before any is made.
 */
export function parseJson(bytes: Uint8Array, what: string, mostValues: number = Infinity): unknown {
  const bad = (problem: string): LongshoreError =>
    new LongshoreError("invalid-input", "decode", `${what} ${problem}`);
  let text: string;
  let value: unknown;
  let depth = 0;
  let values = 1;
  let members = 0;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw bad("is not valid JSON in UTF-8");
  }
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) at = closingQuote(text, at + 1);
    else if (code === 0x3a) members += 1;
    else if (code === 0x2c) values += 1;
    else if (code === 0x7b || code === 0x5b) {
      values += 1;
      depth += 1;
      if (depth > maxDepth) throw bad(`is nested more than ${maxDepth} deep`);
    } else if (code === 0x7d || code === 0x5d) depth -= 1;
  }
  if (values > mostValues) throw bad(`has more than ${mostValues} values`);
  try {
    value = JSON.parse(text);
  } catch {
    // The engine's own message quotes the text, which may be a caller's data: it is not passed on.
    throw bad("is not valid JSON in UTF-8");
  }
  if (members > 0 && membersOf(value) !== members) throw bad("has a key twice in one object");
  return value;
}
