import type { Socket } from "node:net";
import { readMemoryBytes, type Reads } from "@longshore/core/internal";
import type { CompleteOptions } from "./options.ts";

/** What comes over one connection, told in memory that is lent for the call or, where it is much, in memory of its own. */
class SharedReads implements Reads {
  readonly #shared: Uint8Array;
  readonly #take: (chunk: Uint8Array) => void;
  readonly #expects: () => boolean;
  #memory: Uint8Array;
  /** The last read brought so much that who keeps it keeps it where it lies (see `keep`). */
  #much = false;

  constructor(shared: Uint8Array, take: (chunk: Uint8Array) => void, expects: () => boolean) {
    this.#shared = shared;
    this.#memory = shared;
    this.#take = take;
    this.#expects = expects;
  }

  memory(): Uint8Array {
    // It stays with a connection for as long as that is idle.
    const own = this.#much && this.#expects();
    this.#memory = own ? new Uint8Array(Buffer.allocUnsafeSlow(readMemoryBytes).buffer) : this.#shared;
    return this.#memory;
  }

  came(bytes: number): void {
    this.#much = bytes * 4 >= readMemoryBytes;
    const chunk = this.#memory.subarray(0, bytes);
    this.#take(this.#much && this.#memory === this.#shared ? chunk.slice() : chunk);
  }
}

/**
 * Reads a connection: what is short into `shared`, which all connections of a listener read into, so that `take` copies what it
 * keeps of that. What is long gets memory of its own as long as `expects` says that there is more. Returns the socket that the connection has from now on.
 */
export function readSocket(
  accepted: Socket,
  { directSocket }: Pick<CompleteOptions, "directSocket">,
  shared: Uint8Array,
  take: (chunk: Uint8Array) => void,
  expects: () => boolean,
): Socket {
  const direct = directSocket(accepted, new SharedReads(shared, take, expects));
  if (direct) return direct.resume();
  // Not as a buffer of Node.js, whose `slice` copies nothing.
  return accepted.on("data", ({ buffer, byteOffset, byteLength }: Buffer) =>
    take(new Uint8Array(buffer, byteOffset, byteLength)),
  );
}
