import {
  constants,
  deflateRaw,
  deflateRawSync,
  inflateRaw,
  inflateRawSync,
  type Zlib,
  type ZlibOptions,
} from "node:zlib";
import type { Compressor } from "@longshore/core";

/**
 * Smaller inputs are worked on at once: a way through the thread pool takes longer than they do, and they hold the event loop
 * for less than 0.5 ms.
 */
const leastForPool = 8192;

/** Smallest chunk in which zlib hands over what it makes. */
const leastChunk = 64;

/**
 * Of the levels of activations, run lengths and a prefix code leave as little as level 6 does, in a third of the time
 * (`bench split --part codec`).
 */
const deflating: ZlibOptions = { level: 1, strategy: constants.Z_RLE };

/** The result of zlib with `info: true`, which its types leave out. */
interface Informed {
  readonly buffer: Buffer;
  readonly engine: Zlib;
}

/**
 * Deflate of Node.js, in the thread pool but for small inputs.
 *
 * @example
 * ```ts
 * import { platformCompressor } from "@longshore/nodejs";
 *
 * const compressor = platformCompressor();
 * const deflated = await compressor.deflate?.(new Uint8Array(1000));
 * if (deflated) console.log((await compressor.inflate(deflated, 1000)).byteLength); // 1000
 * ```
 */
export function platformCompressor(): Compressor {
  return {
    async deflate(bytes) {
      if (bytes.byteLength < leastForPool) return deflateRawSync(bytes, deflating);
      return new Promise((resolve, reject) => {
        deflateRaw(bytes, { ...deflating, chunkSize: bytes.byteLength >> 1 }, (error, made) => {
          if (error) reject(error);
          else resolve(made);
        });
      });
    },
    async inflate(bytes, length) {
      const options = {
        info: true,
        // One byte more than wanted, so that a longer stream differs from one that ends here.
        chunkSize: Math.max(leastChunk, length + 1),
        maxOutputLength: Math.max(1, length),
      };
      const { buffer, engine } =
        length < leastForPool
          ? (inflateRawSync(bytes, options) as unknown as Informed)
          : await new Promise<Informed>((resolve, reject) => {
              inflateRaw(bytes, options, (error, made) => {
                if (error) reject(error);
                else resolve(made as unknown as Informed);
              });
            });
      if (buffer.byteLength !== length) throw new Error(`it makes ${buffer.byteLength} bytes`);
      if (engine.bytesWritten !== bytes.byteLength) throw new Error("bytes follow its end");
      return buffer;
    },
  };
}
