import { Socket } from "node:net";
import type { ReadBuffers } from "@longshore/core/internal";

/*
 * Node.js reads a connection into memory of 64 KiB that it allocates for each read and cuts to the length that came, which is
 * the largest cost of a short request there; and a body of megabytes arrives in a hundred pieces, each of which is copied and
 * given back. A socket with `onread` reads into memory that it is given: one buffer for all short requests, and that of a body
 * itself. Node.js takes the option for connections that it makes. One that it has accepted is moved to a socket with the option
 * by its handle, as Node.js does among the processes of a cluster. If that cannot be done, connections are read as always.
 */

interface Handle {
  readonly useUserBuffer?: unknown;
}

/**
 * The same connection, read as `reads` says; it emits no `data`, and all else is as before. Undefined where this Node.js cannot
 * do it; then nothing has changed.
 */
export function directSocket(accepted: Socket, reads: ReadBuffers): Socket | undefined {
  // Neither the handle nor the option that takes one is among Node.js's types.
  const holder = accepted as unknown as { _handle: Handle | null };
  const handle = holder._handle;
  if (typeof handle?.useUserBuffer !== "function") return undefined;
  const options = {
    handle,
    allowHalfOpen: accepted.allowHalfOpen,
    onread: {
      buffer: (): Uint8Array => reads.memory(),
      callback(bytes: number) {
        reads.came(bytes);
        return true;
      },
    },
  };
  holder._handle = null;
  const socket = new Socket(options);
  // The server counts its connections by the rest of the old one.
  socket.once("close", () => accepted.destroy());
  return socket;
}
