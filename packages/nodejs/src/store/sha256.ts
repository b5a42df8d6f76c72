import { createHash } from "node:crypto";
import type { Digest } from "@longshore/core";

/** Up to this many bytes the hop off the event loop and back costs more than the hash: 37 us for these, 79 with the hop. */
const quickBytes = 65_536;

/**
 * The same, at once where that is quicker than going off the event loop.
 *
 * @example
 * ```ts
 * import { quickSha256 } from "@longshore/nodejs";
 *
 * console.log(await quickSha256(new Uint8Array())); // sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
 * ```
 */
export function quickSha256(bytes: Uint8Array): Digest | Promise<Digest> {
  if (bytes.byteLength > quickBytes) return sha256(bytes);
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** Up to this many bytes WebCrypto takes: it copies them first, on the calling thread. */
const copiedBytes = 2 ** 22;
/** Bytes that are hashed before other work gets its turn: about a millisecond. */
const sliceBytes = 2 ** 20;

/**
 * `sha256:<hex>` of some bytes, computed off the event loop, or for large ones in slices: no more than some milliseconds at a
 * time. The bytes must not change meanwhile.
 *
 * @example
 * ```ts
 * import { sha256 } from "@longshore/nodejs";
 *
 * console.log(await sha256(new Uint8Array())); // sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
 * ```
 */
export async function sha256(bytes: Uint8Array): Promise<Digest> {
  if (bytes.byteLength > copiedBytes) return slicedSha256(bytes);
  // WebCrypto refuses shared memory by type; tensors and files never are on it.
  const hash = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return `sha256:${Buffer.from(hash).toString("hex")}`;
}

async function slicedSha256(bytes: Uint8Array): Promise<Digest> {
  const hash = createHash("sha256");
  for (let at = 0; at < bytes.byteLength; at += sliceBytes) {
    hash.update(bytes.subarray(at, at + sliceBytes));
    await new Promise((resolve) => setImmediate(resolve));
  }
  return `sha256:${hash.digest("hex")}`;
}
