/** Bytes that are split before other work gets a turn: a millisecond or less. */
const splitAtOnce = 2 ** 16;
/** The code of a newline in UTF-8. */
const newline = 10;

/** Lines of UTF-8 without the newline at its end, in steps. */
export function* linesOf(bytes: Uint8Array): Generator<void, readonly string[]> {
  const lines: string[] = [];
  for (let from = 0; from < bytes.byteLength;) {
    if (from > 0) yield;
    // No character but the newline has its byte in it.
    const at = bytes.indexOf(newline, from + splitAtOnce);
    const end = at < 0 ? bytes.byteLength : at + 1;
    const decoder = new TextDecoder("utf-8", { ignoreBOM: from > 0 });
    const own = decoder.decode(bytes.subarray(from, end)).split(/\r?\n/);
    if (own.at(-1) === "") own.pop();
    for (const line of own) lines.push(line);
    from = end;
  }
  return lines;
}
