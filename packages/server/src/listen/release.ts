import { MessageChannel } from "node:worker_threads";

/** Less is left to the collector, which takes it in passing. */
const leastBytes = 16_384;

/**
 * Frees memory at once instead of leaving it to the collector: every view on it becomes empty. The chunks of a large body
 * are garbage as soon as they were copied, but the collector counts them as memory that is in use, and starts a full
 * collection for every few bodies. Memory that is moved to a port which nobody listens to is dropped there.
 */
export function releaser(): (bytes: Uint8Array) => void {
  const { port1, port2 } = new MessageChannel();
  port1.unref();
  port2.close();
  return ({ buffer, byteLength }) => {
    // A part of something larger may be somebody else's.
    if (byteLength < leastBytes || byteLength !== buffer.byteLength) return;
    if (buffer instanceof ArrayBuffer) port1.postMessage(undefined, [buffer]);
  };
}

/** The same bytes in memory of their own, which can be freed. */
export function copied(bytes: Uint8Array): Uint8Array {
  const own = Buffer.allocUnsafeSlow(bytes.byteLength);
  own.set(bytes);
  return own;
}
