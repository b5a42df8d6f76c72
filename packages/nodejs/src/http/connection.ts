import type { Socket } from "node:net";
import type { Clock, LongshoreError } from "@longshore/core";
import type { buildConnector, Client } from "undici";
import type { ExchangeConnection, HttpExchange } from "./exchange.ts";
import { loadUndici } from "./load-undici.ts";

/** The callbacks between the owner of connections and a connection. */
export interface Http1ClientParts {
  readonly origin: string;
  readonly connector: buildConnector.connector;
  readonly clock: Clock;
  /** A connection was made in so many milliseconds: the name looked up, TCP, and TLS where it is used. */
  made(tookMs: number): void;
  /** How long a connection waits for its next request, in milliseconds, unless the server says less. */
  readonly keepAliveMs: number;
  /** The connection can take the next exchange. */
  free(connection: Http1ClientConnection): void;
  /** The connection ended and takes no exchange any more. `byPeer`: the other side ended it, without an exchange on it. */
  gone(connection: Http1ClientConnection, byPeer: boolean): void;
}

/**
 * One connection, for one exchange at a time: a client of undici that connects when it is used and whose socket is known here, since
 * giving up an exchange resets its socket. All time limits but the idle one are the exchange's, on the injected clock.
 */
export class Http1ClientConnection implements ExchangeConnection {
  socket: Socket | undefined;
  connected = false;
  used = false;
  broken: Error | undefined;
  /** When its last exchange ended. */
  freeSinceMs: number = -Infinity;
  readonly #client: Client;
  readonly #parts: Http1ClientParts;
  #exchange: HttpExchange | undefined;
  #over = false;

  constructor(parts: Http1ClientParts) {
    this.#parts = parts;
    this.#client = new (loadUndici().Client)(parts.origin, {
      pipelining: 1,
      connect: this.#connect,
      keepAliveTimeout: parts.keepAliveMs,
      keepAliveMaxTimeout: parts.keepAliveMs,
      keepAliveTimeoutThreshold: 0,
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    this.#client.on("disconnect", (_origin, _targets, error) => {
      // An exchange that was not written yet goes on with a new socket. Undici's own error tells of its idle limit.
      if (!this.#exchange) this.#ended(null, error.code !== "UND_ERR_INFO");
    });
  }

  /** Begins an exchange, or begins it once more after its socket broke. */
  begin(exchange: HttpExchange): void {
    this.#exchange = exchange;
    this.#client.dispatch(exchange.options, exchange);
  }

  /** The exchange ended well. */
  answered(): void {
    this.#exchange = undefined;
    this.used = true;
    this.freeSinceMs = this.#parts.clock.nowMs();
    this.#parts.free(this);
  }

  /** Ends the connection, and the exchange on it with `why`. */
  end(why?: LongshoreError): void {
    this.#ended(why ?? null, false);
  }

  #ended(why: LongshoreError | null, byPeer: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.#exchange = undefined;
    // A socket that is still connecting is not undici's yet.
    if (!this.connected) this.socket?.destroy();
    this.#client.destroy(why).catch(() => undefined);
    this.#parts.gone(this, byPeer);
  }

  readonly #connect: buildConnector.connector = (options, done) => {
    this.connected = false;
    this.used = false;
    this.broken = undefined;
    this.#exchange?.connecting();
    const { clock, made } = this.#parts;
    const beganMs = clock.nowMs();
    // The connector gives its socket at once, which its type leaves out.
    this.socket = this.#parts.connector(options, (...result) => {
      if (result[0] === null) {
        this.connected = true;
        made(clock.nowMs() - beganMs);
        this.#exchange?.connected();
      }
      done(...result);
    }) as unknown as Socket;
    this.socket.once("error", (thrown) => (this.broken = thrown));
  };
}
