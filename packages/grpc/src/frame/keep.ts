/** Chunks are joined up to this size. */
const joinedBytes = 16_384;

/**
 * Appends a chunk to others. Clients choose the sizes of their chunks. Short chunks are joined, so that a million of one byte
 * cost little more than their bytes. A `lent` chunk, such as memory that a connection reads into, is copied.
 */
export function keep(chunks: Uint8Array[], chunk: Uint8Array, lent = true): void {
  let last = lent ? chunk.slice() : chunk;
  for (;;) {
    const before = chunks.at(-1);
    // Only what is no longer: so each byte is copied rarely.
    if (!before || before.byteLength > last.byteLength || 2 * last.byteLength > joinedBytes) break;
    chunks.pop();
    const joined = new Uint8Array(before.byteLength + last.byteLength);
    joined.set(before);
    joined.set(last, before.byteLength);
    last = joined;
  }
  chunks.push(last);
}
