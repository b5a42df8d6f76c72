import type { Socket } from "node:net";
import { headerLengthHeader } from "@longshore/core/internal";

/** Resolves when all that was written to a connection has left, or the connection is no more. */
export function whenLeft(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.writableEnded) socket.once("close", () => resolve());
    else socket.write("", () => resolve());
  });
}

/** The same bytes in memory of their own, which can be freed. */
export function ownCopy(bytes: Uint8Array): Uint8Array {
  const own = Buffer.allocUnsafeSlow(bytes.byteLength);
  own.set(bytes);
  return own;
}

/**
 * A short body in memory of its own, in which the bytes after its JSON begin at a multiple of 8: the reader needs no further
 * copy. The memory around it may have other owners, so it cannot be moved.
 */
export function alignedCopy(
  bytes: Buffer,
  bodyBytes: number,
  headers: Readonly<Record<string, string>>,
): Uint8Array {
  const announced = Number(headers[headerLengthHeader] ?? 0);
  const memory = Buffer.allocUnsafe(bodyBytes + 8);
  const shift = Number.isSafeInteger(announced)
    ? (8 - ((memory.byteOffset + Math.abs(announced)) % 8)) % 8
    : 0;
  const kept = new Uint8Array(memory.buffer, memory.byteOffset + shift, bodyBytes);
  kept.set(bytes.subarray(0, bodyBytes));
  return kept;
}
