/**
 * Raw deflate (RFC 1951) as the platform has it. `platformCompressor` of `@longshore/nodejs` and of `@longshore/web` gives
 * one. An implementation keeps work of more than about 1 ms off the event loop.
 */
export interface Compressor {
  /**
   * The bytes deflated; the caller keeps them and does not change them meanwhile. Absent where compressing takes longer than
   * it saves, as in browsers.
   */
  readonly deflate?: (bytes: Uint8Array) => Promise<Uint8Array>;
  /**
   * Exactly `length` bytes, inflated. Never makes more than that, even if the stream says so. Throws an Error for a stream that
   * is malformed or cut or makes another number of bytes. Bytes after the end are refused where the platform tells of them.
   */
  inflate(bytes: Uint8Array, length: number): Promise<Uint8Array>;
}
