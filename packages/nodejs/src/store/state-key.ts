import type { SealKey } from "@longshore/engine";
import { createHash, createHmac } from "node:crypto";

/**
 * A key that seals exported state of sequences. Servers that continue each other's sequences share the secret.
 * The id differs between secrets and reveals nothing about them.
 *
 * @example
 * ```ts
 * import { stateKey } from "@longshore/nodejs";
 *
 * const key = stateKey(new Uint8Array(32));
 * console.log(key.id.length > 0); // true
 * ```
 */
export function stateKey(secret: Uint8Array): SealKey {
  // Derived separately, so that the id does not reveal the key.
  const derive = (purpose: string): Buffer => createHmac("sha256", secret).update(purpose).digest();
  const key = derive("longshore state seal");
  return {
    id: createHash("sha256").update(derive("longshore state seal id")).digest("hex").slice(0, 12),
    mac: (bytes) => Promise.resolve(createHmac("sha256", key).update(bytes).digest("hex")),
  };
}
