/** Text that is parsed before other work gets its turn: about a millisecond, and two more to check its content. */
const charactersAtOnce = 32_768;

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const isOpening = (character: number): boolean => character === 0x5b || character === 0x7b;
const isClosing = (character: number): boolean => character === 0x5d || character === 0x7d;

/** Behind the quote that ends the text which begins at `from`; the end where none does. */
function behindText(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at++) {
    const character = text.charCodeAt(at);
    if (character === backslash) at += 1;
    else if (character === quote) return at + 1;
  }
  return text.length;
}

function parsedEntries(text: string): readonly unknown[] {
  const entries = JSON.parse(`[${text}]`) as readonly unknown[];
  // Only between two commas that belong to no entry, or before one.
  if (entries.length === 0) throw new SyntaxError("an entry is missing");
  return entries;
}

/**
 * Parses a JSON object whose one long list is the field `name`, and yields that list's entries a few hundred at a time, so that
 * other work can have its turn between them. Returns the object with the list empty, or unchanged if the field is no list.
 * Throws `SyntaxError` for a text that is not JSON.
 */
export function* jsonEntries(text: string, name: string): Generator<readonly unknown[], unknown> {
  const label = JSON.stringify(name);
  let depth = 0;
  let lastText = "";
  /** Where the list begins, and the entries that were not yielded yet; -1 outside of it. */
  let list = -1;
  let from = -1;
  let parsed = false;
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at);
    if (character === quote) {
      const end = behindText(text, at);
      if (depth === 1) lastText = text.slice(at, end);
      at = end - 1;
    } else if (isOpening(character)) {
      depth += 1;
      if (depth !== 2 || list >= 0 || lastText !== label || character !== 0x5b) continue;
      list = at + 1;
      from = list;
    } else if (isClosing(character)) {
      depth -= 1;
      if (depth !== 1 || from < 0) continue;
      const last = text.slice(from, at);
      if (parsed || last.trim() !== "") yield parsedEntries(last);
      return JSON.parse(text.slice(0, list) + text.slice(at)) as unknown;
    } else if (character === comma && depth === 2 && from >= 0 && at - from >= charactersAtOnce) {
      yield parsedEntries(text.slice(from, at));
      from = at + 1;
      parsed = true;
    }
  }
  return JSON.parse(text) as unknown;
}
