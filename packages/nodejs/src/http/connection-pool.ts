import type { Call, WireResponse } from "@longshore/core";
import {
  abortError,
  afterPause,
  type Connecting,
  newConnection,
  whenAborted,
} from "@longshore/core/internal";
import type { buildConnector } from "undici";
import { Http1ClientConnection, type Http1ClientParts } from "./connection.ts";
import { HttpExchange, type ExchangeLimits, type Outgoing } from "./exchange.ts";
import { unreachable } from "./failure.ts";
import { loadUndici } from "./load-undici.ts";

/** Where the connections of a pool lead, and how many there are. */
export interface ConnectionPoolOptions extends ExchangeLimits {
  readonly maxConnections: number;
  readonly keepAliveMs: number;
  readonly connector: buildConnector.BuildOptions;
  /** Called when the server ends a connection without a request on it. */
  readonly lost?: () => void;
}

/** Kept connections to one server, the last used first, and requests that wait for one. */
export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  readonly #parts: Http1ClientParts;
  readonly #all = new Set<Http1ClientConnection>();
  readonly #free: Http1ClientConnection[] = [];
  /** Requests that wait for a connection to be free, or gone. */
  readonly #waiting = new Set<() => void>();
  #closed = false;
  /** How long making a connection took of late, in milliseconds. */
  #tookMs: number | undefined;

  constructor(options: ConnectionPoolOptions) {
    this.#options = options;
    this.#parts = {
      origin: options.address,
      connector: loadUndici().buildConnector({ ...options.connector, timeout: 0 }),
      keepAliveMs: options.keepAliveMs,
      clock: options.clock,
      made: (tookMs) => {
        this.#tookMs = this.#tookMs === undefined ? tookMs : (this.#tookMs + tookMs) / 2;
      },
      free: (connection) => {
        this.#free.push(connection);
        this.#next();
      },
      gone: (connection, byPeer) => {
        this.#all.delete(connection);
        if (byPeer && !this.#closed) options.lost?.();
        const at = this.#free.indexOf(connection);
        if (at >= 0) this.#free.splice(at, 1);
        this.#next();
      },
    };
  }

  /** As `Transport.send`. */
  send(request: Outgoing): Promise<WireResponse> {
    const connection = this.#take();
    return connection ? this.#sendOn(connection, request) : this.#waitAndSend(request);
  }

  /** As `Transport.connecting`. */
  connecting(): Connecting | undefined {
    const free = this.#free.at(-1);
    if (free) return afterPause(this.#options.clock.nowMs() - free.freeSinceMs);
    return newConnection(new URL(this.#options.address), this.#tookMs);
  }

  /** Ends all connections, used or not. Nobody waits for one any more. */
  close(): void {
    this.#closed = true;
    for (const one of this.#all) one.end();
    for (const goOn of this.#waiting) goOn();
  }

  #sendOn(connection: Http1ClientConnection, request: Outgoing): Promise<WireResponse> {
    return new Promise((resolve, reject) => {
      connection.begin(new HttpExchange(connection, request, this.#options, resolve, reject));
    });
  }

  /** Undefined when there are too many. */
  #take(): Http1ClientConnection | undefined {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#closed || this.#all.size >= this.#options.maxConnections) return undefined;
    const made = new Http1ClientConnection(this.#parts);
    this.#all.add(made);
    return made;
  }

  async #waitAndSend(request: Outgoing): Promise<WireResponse> {
    for (;;) {
      await this.#turn(request.call);
      if (this.#closed) throw unreachable(this.#options.address, "the transport is closed");
      const connection = this.#take();
      if (connection) return this.#sendOn(connection, request);
    }
  }

  #next(): void {
    const [first] = this.#waiting;
    first?.();
  }

  #turn({ abort }: Call): Promise<void> {
    const { clock, address, connectTimeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const over = (): void => {
        this.#waiting.delete(goOn);
        stopListening();
        late[Symbol.dispose]();
      };
      const goOn = (): void => {
        over();
        resolve();
      };
      const stopListening = whenAborted(abort, () => {
        over();
        reject(abortError(abort, "transport"));
      });
      const late = clock.timer(connectTimeoutMs, () => {
        over();
        reject(unreachable(address, `no connection after ${connectTimeoutMs} ms`));
      });
      this.#waiting.add(goOn);
    });
  }
}
