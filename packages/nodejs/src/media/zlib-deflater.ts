import { promisify } from "node:util";
import { deflate, inflate } from "node:zlib";
import { type Deflater, inflateError } from "@longshore/core";

const deflateAsync = promisify(deflate);
const inflateAsync = promisify(inflate);

/**
 * A deflater on Node's zlib, in its thread pool. `level` 1 (default) to 9; higher levels gain a few per cent on activations
 * and take several times as long.
 */
export function zlibDeflater({ level = 1 }: { readonly level?: number } = {}): Deflater {
  return {
    deflate: (bytes) => deflateAsync(bytes, { level }),
    async inflate(bytes, mostBytes) {
      try {
        // zlib wants a limit above 0; the caller checks the length that comes out
        return await inflateAsync(bytes, { maxOutputLength: Math.max(mostBytes, 1) });
      } catch (thrown) {
        const detail = thrown instanceof Error ? thrown.message : String(thrown);
        throw inflateError(`they are not a zlib stream of at most ${mostBytes} bytes: ${detail}`, thrown);
      }
    },
  };
}
