import type { Duplex } from "node:stream";
import type { CompleteHttpOptions } from "./options.ts";

/**
 * The rest of a request that was answered before all of it had arrived (RFC 9112, 9.6). A connection that is closed with unread bytes is
 * reset, and the reset can overtake the reply. So the rest is read for a while and thrown away. The connection is destroyed after
 * `lingerMs`, or once more than `lingerBytes` came.
 */
export class Linger implements Disposable {
  readonly #socket: Duplex;
  readonly #timer: Disposable;
  #leftBytes: number;

  constructor(socket: Duplex, { clock, lingerBytes, lingerMs }: CompleteHttpOptions) {
    this.#socket = socket;
    this.#leftBytes = lingerBytes;
    this.#timer = clock.timer(lingerMs, () => socket.destroy());
  }

  /** Some of it came and was thrown away. */
  came(bytes: number): void {
    this.#leftBytes -= bytes;
    if (this.#leftBytes < 0) this.#socket.destroy();
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
  }
}
