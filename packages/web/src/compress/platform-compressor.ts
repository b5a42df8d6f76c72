import type { Compressor } from "@longshore/core";

/**
 * Deflate of browsers, which only inflates: `CompressionStream` has no choice of strategy and takes seven times as long
 * as zlib with run lengths, more than the smaller body saves on most links (ADR 21). Codecs then send plain levels.
 *
 * @example
 * ```ts
 * import { platformCompressor } from "@longshore/web";
 *
 * // Browsers inflate what servers deflate, and send plain levels themselves.
 * console.log(platformCompressor().deflate === undefined); // true
 * ```
 */
export function platformCompressor(): Compressor {
  return {
    async inflate(bytes, length) {
      const out = new Uint8Array(length);
      // The platform's type wants memory that is not shared, and no tensor of the wire is in such memory.
      const stream = new Blob([bytes as Uint8Array<ArrayBuffer>])
        .stream()
        .pipeThrough(new DecompressionStream("deflate-raw"));
      let at = 0;
      const reader = stream.getReader();
      try {
        for (let next = await reader.read(); !next.done; next = await reader.read()) {
          if (at + next.value.byteLength > length) throw new Error("it makes more bytes");
          out.set(next.value, at);
          at += next.value.byteLength;
        }
      } catch (thrown) {
        await reader.cancel().catch(() => undefined);
        throw thrown;
      }
      if (at !== length) throw new Error(`it makes ${at} bytes`);
      return out;
    },
  };
}
