/** Chunks are joined up to this size. */
const joinedBytes = 16_384;

/**
 * Keeps a chunk behind others. Clients cut what they send as they like: short chunks are joined, so that a million of one
 * byte cost little more than their bytes. One that is a small part of a large buffer is copied: it does not hold all of that,
 * which may be read into again.
 */
export function keep(chunks: Uint8Array[], chunk: Uint8Array): void {
  let last = chunk.byteLength * 4 < chunk.buffer.byteLength ? chunk.slice() : chunk;
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
