import type { Duplex } from "node:stream";
import type { Clock } from "@longshore/core";
import { acknowledgedHeader } from "@longshore/core/internal";

/** Unsent bytes on a connection beyond which no more acknowledgements are written to it. */
const talkative = 65_536;

/**
 * Tells a client how much of its body has arrived, in interim responses (102, RFC 2518, 10.1), until the reply begins. The whole
 * body is acknowledged at once. Before that, one response covers what arrives in a turn of the event loop: each costs both sides as much as
 * a small request.
 */
export class Acknowledger {
  readonly #clock: Clock;
  readonly #socket: Duplex;
  #bytes = 0;
  #over = false;
  #turn: Disposable | undefined;

  constructor(clock: Clock, socket: Duplex) {
    this.#clock = clock;
    this.#socket = socket;
  }

  /** @param whole Nothing is still to come. */
  arrived(bytes: number, whole: boolean): void {
    if (this.#over) return;
    this.#bytes = bytes;
    if (whole) this.#tell();
    else this.#turn ??= this.#clock.timer(0, () => this.#tell());
  }

  /** The reply begins: an interim response would be read as part of it. */
  end(): void {
    this.#over = true;
    this.#turn?.[Symbol.dispose]();
  }

  #tell(): void {
    this.#turn?.[Symbol.dispose]();
    this.#turn = undefined;
    const socket = this.#socket;
    if (this.#over || !socket.writable || socket.writableLength > talkative) return;
    socket.write(`HTTP/1.1 102 Processing\r\n${acknowledgedHeader}: ${this.#bytes}\r\n\r\n`, "latin1");
  }
}
