import type { Digest } from "@longshore/core";

/** `sha256:<hex>` of some bytes, computed off the event loop. The bytes must not change meanwhile. */
export async function sha256(bytes: Uint8Array): Promise<Digest> {
  // WebCrypto refuses shared memory by type; tensors and files never are on it.
  const hash = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return `sha256:${Buffer.from(hash).toString("hex")}`;
}
