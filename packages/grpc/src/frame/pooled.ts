/**
 * Uninitialised memory in which byte `alignAt` lies at a multiple of 8. Short memory is part of a larger buffer that it shares: a buffer
 * of its own costs more than so few bytes, to allocate and to collect. So it cannot be moved to another thread.
 */
export function pooled(byteLength: number, alignAt = 0): Uint8Array {
  const { buffer, byteOffset } = Buffer.allocUnsafe(byteLength + 7);
  return new Uint8Array(buffer, byteOffset + ((8 - ((byteOffset + alignAt) % 8)) % 8), byteLength);
}
