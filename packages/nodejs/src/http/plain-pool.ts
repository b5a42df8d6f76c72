import { connect } from "node:net";
import type { Call, WireResponse } from "@longshore/core";
import { abortError, whenAborted } from "@longshore/core/internal";
import { unreachable } from "./failure.ts";
import type { ExchangeOptions } from "./node-exchange.ts";
import { PlainConnection } from "./plain-connection.ts";
import type { PlainEvents, PlainRequest } from "./plain-request.ts";

/** Where the connections of a pool lead, and how many there are. */
export interface PlainPoolOptions extends Omit<ExchangeOptions, "maxBytes"> {
  readonly host: string;
  readonly port: number;
  readonly localAddress?: string;
  readonly maxConnections: number;
  readonly keepAliveMs: number;
}

/** Kept connections to one server whose replies are plain. */
export class PlainPool {
  readonly #options: PlainPoolOptions;
  readonly #all = new Set<PlainConnection>();
  /** The last one was used last. */
  readonly #free: PlainConnection[] = [];
  /** Requests that wait for one of all to be free, or gone. */
  readonly #waiting = new Set<() => void>();
  readonly #events: PlainEvents;
  #odd = false;
  #closed = false;

  constructor(options: PlainPoolOptions) {
    this.#options = options;
    this.#events = {
      free: (connection) => {
        if (this.#odd) connection.destroy();
        else {
          this.#free.push(connection);
          this.#next();
        }
      },
      gone: (connection) => {
        this.#all.delete(connection);
        const at = this.#free.indexOf(connection);
        if (at >= 0) this.#free.splice(at, 1);
        this.#next();
      },
      odd: () => {
        this.#odd = true;
        for (const one of this.#free.splice(0)) one.destroy();
      },
    };
  }

  /** The server has answered otherwise than is read here: further requests are for a whole client of HTTP. */
  get odd(): boolean {
    return this.#odd;
  }

  /** As `Transport.send`. */
  send(request: PlainRequest): Promise<WireResponse> {
    const free = this.#take();
    return free ? this.#sendOn(free, request) : this.#waitAndSend(request);
  }

  /**
   * On a kept connection that its server had closed, a request that may be repeated and is still here whole is sent once more, on a
   * fresh one. All kept connections are stale after a pause of either side: to try the next of them, or another server that was
   * kept as long, would fail as well.
   */
  #sendOn(connection: PlainConnection, request: PlainRequest): Promise<WireResponse> {
    const { repeatable, body, call } = request;
    const sent = connection.send(request);
    if (!connection.reused || !repeatable || body.kind !== "parts" || body.given) return sent;
    return sent.catch((thrown: unknown) => {
      // Its socket says only later that it is gone, and the fresh one takes its place.
      if (connection.stale) this.#all.delete(connection);
      const fresh = connection.stale && !call.abort.aborted ? this.#open() : undefined;
      if (!fresh) throw thrown;
      return fresh.send(request);
    });
  }

  /** Ends all connections, used or not. Nobody waits for one any more. */
  close(): void {
    this.#closed = true;
    for (const one of this.#all) one.destroy();
    for (const goOn of this.#waiting) goOn();
  }

  /** A connection that a request can be sent on now; undefined when there are too many. */
  #take(): PlainConnection | undefined {
    for (let free = this.#free.pop(); free; free = this.#free.pop()) {
      if (free.usable) return free;
      free.destroy();
    }
    return this.#open();
  }

  /** A fresh connection; undefined when there are too many. */
  #open(): PlainConnection | undefined {
    if (this.#closed || this.#all.size >= this.#options.maxConnections) return undefined;
    const { host, port, localAddress, keepAliveMs } = this.#options;
    const socket = connect({ host, port, noDelay: true, ...(localAddress ? { localAddress } : {}) });
    const made = new PlainConnection(socket, this.#options, keepAliveMs, this.#events);
    this.#all.add(made);
    return made;
  }

  async #waitAndSend(request: PlainRequest): Promise<WireResponse> {
    for (;;) {
      await this.#turn(request.call);
      if (this.#closed) throw unreachable(this.#options.address, "the transport is closed");
      const free = this.#take();
      if (free) return this.#sendOn(free, request);
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
        unheard();
        late[Symbol.dispose]();
      };
      const goOn = (): void => {
        over();
        resolve();
      };
      const unheard = whenAborted(abort, () => {
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
