import { LongshoreError } from "../base/index.ts";

/**
 * Entropy coding behind a seam: platforms have faster ones, and one that finishes in the order of a thread pool would keep
 * seeded simulations from replaying.
 */
export interface Deflater {
  /** The bytes in zlib format (RFC 1950). */
  deflate(bytes: Uint8Array): Promise<Uint8Array>;
  /**
   * The bytes again. Throws `body-mismatch` when they are not a whole zlib stream or would become more than `mostBytes`,
   * which is noticed before so much is held.
   */
  inflate(bytes: Uint8Array, mostBytes: number): Promise<Uint8Array>;
}

/** The error of every deflater. */
export function inflateError(message: string, cause?: unknown): LongshoreError {
  return new LongshoreError("body-mismatch", "decode", `deflated bytes: ${message}`, { cause });
}

async function through(
  bytes: Uint8Array,
  stream: CompressionStream | DecompressionStream,
  mostBytes: number,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let total = 0;
  const source = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      // tensors are never backed by shared memory
      controller.enqueue(bytes as Uint8Array<ArrayBuffer>);
      controller.close();
    },
  });
  for await (const chunk of source.pipeThrough(stream) as unknown as AsyncIterable<Uint8Array>) {
    total += chunk.byteLength;
    if (total > mostBytes) throw inflateError(`they become more than ${mostBytes} bytes`);
    chunks.push(chunk);
  }
  const out = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.byteLength;
  }
  return out;
}

/** A deflater on the platform's CompressionStream. */
export function streamDeflater(): Deflater {
  return {
    deflate: (bytes) => through(bytes, new CompressionStream("deflate"), Infinity),
    async inflate(bytes, mostBytes) {
      try {
        return await through(bytes, new DecompressionStream("deflate"), mostBytes);
      } catch (thrown) {
        throw LongshoreError.is(thrown) ? thrown : inflateError("they are not a whole zlib stream", thrown);
      }
    },
  };
}
