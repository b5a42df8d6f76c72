/**
 * Memory for the bodies of requests, used again and again. A tensor of some megabytes in fresh memory costs more than receiving
 * it: the system zeroes its pages, and the collector is called for each few of them to find the ones before.
 *
 * The obvious pool hands the same buffer to one request after another, and code that still holds a view of the first request
 * then reads the second one's, which may be another tenant's. Here memory that comes back is moved into a new buffer: every
 * view that still exists becomes empty. So the invariant does not rest on the borrowers of tensors: **a view shows the body
 * that it was made for, or nothing.** For the same reason memory is handed out only for bodies of exactly its length, which
 * overwrite all of it.
 */
export interface BodyPool {
  /** Memory of exactly this many bytes, which still holds its former content: write all of it before it is read. */
  take(byteLength: number): ArrayBuffer;
  /** Takes memory that nothing is being read from or sent out of; views on it become empty. */
  give(memory: ArrayBufferLike): void;
  readonly spareBytes: number;
}

/** Bodies below this are cheaper in fresh memory. */
export const worthKeepingBytes = 65_536;

/** A pool that keeps at most `maxBytes`; the memory that came back first is dropped first. */
export function createBodyPool(maxBytes: number): BodyPool {
  /** By their length, those that came back last at the end; lengths in the order in which they were last given. */
  const spare = new Map<number, ArrayBuffer[]>();
  let spareBytes = 0;

  function drop(): void {
    const [oldest] = spare;
    if (!oldest) return;
    const [byteLength, buffers] = oldest;
    buffers.shift();
    spareBytes -= byteLength;
    if (buffers.length === 0) spare.delete(byteLength);
  }

  return {
    get spareBytes() {
      return spareBytes;
    },
    take(byteLength) {
      const buffers = spare.get(byteLength);
      const buffer = buffers?.pop();
      if (!buffers || !buffer) return new ArrayBuffer(byteLength);
      spareBytes -= byteLength;
      if (buffers.length === 0) spare.delete(byteLength);
      return buffer;
    },
    give(memory) {
      const { byteLength } = memory;
      // Memory that was moved elsewhere is empty here.
      if (!(memory instanceof ArrayBuffer) || byteLength === 0 || byteLength > maxBytes) return;
      const buffer = structuredClone(memory, { transfer: [memory] });
      const buffers = spare.get(byteLength) ?? [];
      buffers.push(buffer);
      spare.delete(byteLength);
      spare.set(byteLength, buffers);
      spareBytes += byteLength;
      while (spareBytes > maxBytes) drop();
    },
  };
}
