/*
 * Texts in the runtimes' form, on the runner's side. Lists of strings would cost the thread that answers requests many times the cost of
 * their bytes. This file imports no other packages, so that runners start quickly.
 */

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The elements of a BYTES tensor as strings. The runtime's strings end at a zero byte and must be UTF-8. Other bytes would be changed
 * silently, so `refuse` makes the error for them.
 */
export function stringsOf(bytes: Uint8Array, refuse: (index: number, why: string) => Error): string[] {
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const texts: string[] = [];
  let at = 0;
  while (at < bytes.byteLength) {
    const end = at + 4 <= bytes.byteLength ? at + 4 + header.getUint32(at, true) : Infinity;
    if (end > bytes.byteLength) throw refuse(texts.length, "runs past the end");
    const element = bytes.subarray(at + 4, end);
    if (element.includes(0))
      throw refuse(texts.length, "has a zero byte, where this runtime would cut it off");
    try {
      texts.push(decoder.decode(element));
    } catch {
      throw refuse(texts.length, "is not UTF-8, and this runtime takes text only");
    }
    at = end;
  }
  return texts;
}

/** Strings as the bytes of a BYTES tensor; undefined if they exceed `maxBytes`. */
export function bytesOfStrings(texts: readonly string[], maxBytes: number): Uint8Array | undefined {
  let size = 0;
  for (const text of texts) {
    size += 4 + Buffer.byteLength(text);
    if (size > maxBytes) return undefined;
  }
  const bytes = new Uint8Array(size);
  const into = Buffer.from(bytes.buffer);
  let at = 0;
  for (const text of texts) {
    const length = into.write(text, at + 4);
    at = into.writeUInt32LE(length, at) + length;
  }
  return bytes;
}
