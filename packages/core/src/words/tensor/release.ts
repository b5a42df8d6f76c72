import type { Tensors } from "./tensor.ts";

/** Less is left to the collector, which takes it in passing. */
const leastBytes = 16_384;

/**
 * Frees memory at once instead of leaving it to the collector: every view on it becomes empty. The chunks of a large body, and
 * what crosses at a cut, are garbage as soon as they were copied or sent, but the collector counts them as memory that is in
 * use, and starts a full collection for every few of them. Memory that is moved to a port without a listener is dropped there.
 * A part of a larger buffer is left alone: the rest may have another owner.
 */
export function releaser(): (bytes: Uint8Array) => void {
  const { port1, port2 } = new MessageChannel();
  port2.close();
  return ({ buffer, byteLength }) => {
    if (byteLength < leastBytes || byteLength !== buffer.byteLength) return;
    if (buffer instanceof ArrayBuffer) port1.postMessage(undefined, [buffer]);
  };
}

/** Frees tensors except those that lie in the memory of `others`, which may still be read. */
export function releaseTensors(
  tensors: Tensors,
  others: Tensors,
  release: (bytes: Uint8Array) => void,
): void {
  const kept = new Set(Array.from(others.values(), ({ bytes }) => bytes.buffer));
  for (const { bytes } of tensors.values()) if (!kept.has(bytes.buffer)) release(bytes);
}
