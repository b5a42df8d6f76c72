import type { Socket } from "node:net";
import type { CompleteOptions } from "../options.ts";

/**
 * Reads a connection into `shared`, which all connections of a listener read into: memory of its own for each read would be a
 * collection for every few megabytes. `take` copies the bytes that it keeps; bytes with a destination are copied there. Returns
 * the socket that the connection has from now on.
 */
export function readSocket(
  accepted: Socket,
  { directSocket }: Pick<CompleteOptions, "directSocket">,
  shared: Uint8Array,
  take: (chunk: Uint8Array) => void,
): Socket {
  const direct = directSocket(accepted, {
    memory: () => shared,
    came: (bytes) => take(shared.subarray(0, bytes)),
  });
  if (direct) return direct.resume();
  // Not as a buffer of Node.js, whose `slice` copies nothing.
  return accepted.on("data", ({ buffer, byteOffset, byteLength }: Buffer) =>
    take(new Uint8Array(buffer, byteOffset, byteLength)),
  );
}
