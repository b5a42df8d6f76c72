import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { onTimeout } from "./not-served.ts";
import type { CompleteHttpOptions } from "./options.ts";

/*
 * Node.js's server has a time for the headers and for the whole of a request. Two waits of it have none: for the next piece of
 * a body, and for the next request when only blank lines come (they end its own `keepAliveTimeout` and begin no request).
 */

/**
 * These two limits of one connection that Node.js reads. A request only notes when the next wait ends: one timer for each connection looks
 * at that, since a timer for each request would cost as much as reading its headers.
 */
export class RequestTimes {
  readonly #socket: Socket;
  readonly #options: CompleteHttpOptions;
  /** When the wait ends that is under way; Infinity while a request with a whole body is served. */
  #dueMs: number;
  #timer: Disposable;
  /** The newest request and its response; undefined before the first. */
  #request: IncomingMessage | undefined;
  #response: ServerResponse | undefined;
  /** Bytes of the connection when progress was last looked at. */
  #bytes = 0;

  constructor(socket: Socket, options: CompleteHttpOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#dueMs = Infinity;
    this.#timer = this.#look(Infinity);
    socket.once("close", () => this.#timer[Symbol.dispose]());
  }

  /** A request that begins at the last moment has its time for headers, too. */
  get #betweenMs(): number {
    return this.#options.keepAliveMs + this.#options.headersTimeoutMs;
  }

  /** The headers of a request are here. */
  begin(request: IncomingMessage, response: ServerResponse): void {
    this.#request = request;
    this.#response = response;
    this.#bytes = this.#socket.bytesRead;
    this.#dueMs = request.complete ? Infinity : this.#options.clock.nowMs() + this.#options.stallTimeoutMs;
  }

  /** A request has been served. One behind it on the connection has begun its own wait. */
  over(response: ServerResponse): void {
    if (response === this.#response) this.#awaitNext();
  }

  #awaitNext(): void {
    this.#dueMs = this.#options.clock.nowMs() + this.#betweenMs;
  }

  /** Looks again when the wait may be over, and at least as often as the shorter limit: no wait that begins later ends before that. */
  #look(waitMs: number): Disposable {
    const mostMs = Math.min(this.#options.stallTimeoutMs, this.#betweenMs);
    return this.#options.clock.timer(Math.min(waitMs, mostMs), () => {
      const leftMs = this.#dueMs - this.#options.clock.nowMs();
      if (leftMs <= 0 && this.#isLate()) return;
      this.#timer = this.#look(Math.max(1, this.#dueMs - this.#options.clock.nowMs()));
    });
  }

  /** Ends the connection if the wait that is over was too long; else another begins. */
  #isLate(): boolean {
    const { stallTimeoutMs, clock } = this.#options;
    const request = this.#request;
    if (request && !request.complete && !request.destroyed) {
      // A body without a reader is not late.
      const late = request.readableFlowing === true && this.#socket.bytesRead === this.#bytes;
      this.#bytes = this.#socket.bytesRead;
      this.#dueMs = clock.nowMs() + stallTimeoutMs;
      if (late) onTimeout(this.#options, this.#socket);
      return late;
    }
    // Served, and its reply is still being read.
    if (this.#response && !this.#response.closed) {
      this.#awaitNext();
      return false;
    }
    this.#socket.destroy();
    return true;
  }
}
