import { connect } from "node:net";
import { abortError, type Call, whenAborted, type WireResponse } from "@longshore/core";
import { unreachable } from "./failure.ts";
import type { ExchangeOptions } from "./node-exchange.ts";
import { PlainConnection, type PlainEvents, type PlainRequest } from "./plain-connection.ts";

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
    return free ? free.send(request) : this.#waitAndSend(request);
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
    if (this.#all.size >= this.#options.maxConnections) return undefined;
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
      if (free) return free.send(request);
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
