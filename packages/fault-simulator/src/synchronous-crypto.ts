import { createHash } from "node:crypto";

/**
 * Hashes of WebCrypto are made at once until it is disposed: on the threads of the platform they are done in an order that does
 * not replay.
 */
export function synchronousCrypto(): Disposable {
  const { subtle } = globalThis.crypto;
  const before = Object.getOwnPropertyDescriptor(subtle, "digest");
  Object.defineProperty(subtle, "digest", {
    configurable: true,
    value: (algorithm: string, bytes: Uint8Array) => {
      const hash = createHash(algorithm.replace("-", "").toLowerCase()).update(bytes).digest();
      return Promise.resolve(Uint8Array.from(hash).buffer);
    },
  });
  return {
    [Symbol.dispose]() {
      if (before) Object.defineProperty(subtle, "digest", before);
      else Reflect.deleteProperty(subtle, "digest");
    },
  };
}
