import { request as httpRequest } from "node:http";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { type Call, emptyBody, type WireResponse } from "@longshore/core";
import { type ExchangeOptions, nodeExchange } from "./node-exchange.ts";

/** A connection on which a request was written already: what is written is dropped, what comes is what comes. */
class Answering extends Duplex {
  readonly #socket: Socket;

  constructor(socket: Socket, first: Buffer) {
    super();
    this.#socket = socket;
    let ended = false;
    socket.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) socket.pause();
    });
    socket.on("end", () => {
      ended = true;
      this.push(null);
    });
    socket.on("error", (thrown) => this.destroy(thrown));
    socket.on("close", () => {
      if (!ended) this.destroy();
    });
    this.push(first);
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }

  override _destroy(thrown: Error | null, done: (thrown: Error | null) => void): void {
    this.#socket.destroy();
    done(thrown);
  }
}

/**
 * Has Node.js read the reply to a request that was written on a connection, or is still being written. `first`: what of the
 * reply is here. The connection is not used again.
 */
export function handedOver(
  socket: Socket,
  first: Buffer,
  call: Call,
  options: ExchangeOptions,
  acknowledged: ((bytes: number) => void) | undefined,
): Promise<WireResponse> {
  const answering = new Answering(socket, first);
  const make = (): ReturnType<typeof httpRequest> => httpRequest({ createConnection: () => answering });
  return nodeExchange(make, { body: emptyBody }, call, options, acknowledged);
}
