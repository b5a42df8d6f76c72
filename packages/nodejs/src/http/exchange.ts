import type { IncomingHttpHeaders } from "node:http";
import { type Call, type Clock, LongshoreError, type WireBody, type WireResponse } from "@longshore/core";
import {
  abortError,
  acknowledgedHeader,
  ArrivingBody,
  brokenBody,
  tinyBytes,
  whenAborted,
} from "@longshore/core/internal";
import type { Socket } from "node:net";
import type { Dispatcher } from "undici";
import { meaning, noAnswer, tooLong, unreachable } from "./failure.ts";
import { giveUp } from "./give-up.ts";
import { Silence, type WatchedExchange } from "./silence.ts";

/** The limits of exchanges with one server; see `HttpTransportOptions`. */
export interface ExchangeLimits {
  readonly clock: Clock;
  readonly address: string;
  readonly connectTimeoutMs: number;
  readonly idleTimeoutMs: number;
}

/** One request. */
export interface Outgoing {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: WireBody;
  /** Length of the body; undefined if it is not known, so that the body goes in chunks. */
  readonly bodyBytes: number | undefined;
  readonly call: Call;
  readonly maxBytes: number;
  readonly acknowledged: ((bytes: number) => void) | undefined;
  /** Whether it may be sent twice: a second run has no further effect. */
  readonly repeatable: boolean;
}

/** The connection of an exchange. */
export interface ExchangeConnection {
  /** Undefined before the first connect. */
  readonly socket: Socket | undefined;
  /** Whether the connection is made, under TLS with its handshake. */
  readonly connected: boolean;
  /** Whether its socket has answered a request before. */
  readonly used: boolean;
  /**
   * The error that broke the socket. Under TLS the server's alert comes first and the end of the connection after it, and
   * undici reports the last.
   */
  readonly broken: Error | undefined;
  /** Writes the request of an exchange. */
  begin(exchange: HttpExchange): void;
  /** The exchange was answered: the connection can take another. */
  answered(): void;
  /** Ends the connection. */
  end(error?: LongshoreError): void;
}

/** Parts of up to this size together are copied into one write, in bytes: one write costs less than several. */
const joinedBytes = 65_536;

const nothing = new Uint8Array(0);

/**
 * One request and its reply on a connection, as undici's handler. Its promise settles when the head of the reply is here, and
 * for a short reply when all of it is; errors after that reach the reader of the reply.
 *
 * If a reused connection breaks before the first byte of an answer, the server had most likely closed it and never read the
 * request. The request is sent once more on a new socket if it is repeatable.
 */
export class HttpExchange implements Dispatcher.DispatchHandler, WatchedExchange {
  readonly options: Dispatcher.DispatchOptions;
  readonly #request: Outgoing;
  readonly #limits: ExchangeLimits;
  readonly #connection: ExchangeConnection;
  readonly #resolve: (response: WireResponse) => void;
  readonly #reject: (error: LongshoreError) => void;
  readonly #silence: Silence;
  readonly #stopListening: () => void;
  #connecting: Disposable | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  /** Whether the body is given to the socket little by little. */
  #inChunks = false;
  /** Whether the whole body was given to the socket. */
  #sent = false;
  #started = false;
  #reused = false;
  #answered = false;
  #repeated = false;
  #ended = false;
  #failure: LongshoreError | undefined;
  /** A final reply has begun. */
  #headed = false;
  /** A short reply, and its parts so far. */
  #short: WireResponse | undefined;
  readonly #parts: Uint8Array[] = [];
  #arriving: ArrivingBody | undefined;
  #bytes = 0;

  constructor(
    connection: ExchangeConnection,
    request: Outgoing,
    limits: ExchangeLimits,
    resolve: (response: WireResponse) => void,
    reject: (error: LongshoreError) => void,
  ) {
    this.#connection = connection;
    this.#request = request;
    this.#limits = limits;
    this.#resolve = resolve;
    this.#reject = reject;
    this.options = this.#dispatchOptions();
    this.#silence = new Silence(limits.clock, limits.idleTimeoutMs, this);
    const { abort } = request.call;
    this.#stopListening = whenAborted(abort, () => this.fail(abortError(abort, "transport")));
  }

  /** A socket begins to connect for it. */
  connecting(): void {
    const { clock, address, connectTimeoutMs } = this.#limits;
    this.#connecting?.[Symbol.dispose]();
    this.#connecting = clock.timer(connectTimeoutMs, () =>
      this.fail(unreachable(address, `no connection after ${connectTimeoutMs} ms`)),
    );
  }

  connected(): void {
    this.#connecting?.[Symbol.dispose]();
    this.#silence.moved();
  }

  written(): number {
    return this.#connection.socket?.bytesWritten ?? 0;
  }

  silent(): void {
    const { address, idleTimeoutMs } = this.#limits;
    this.fail(noAnswer(address, `nothing came for ${idleTimeoutMs} ms`));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#started = true;
    this.#reused = this.#connection.used;
    this.#sent = !this.#inChunks;
  }

  /** The first byte of a head is here, interim or not. */
  onResponseStarted(): void {
    this.#answered = true;
    this.#silence.moved();
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    const { acknowledged, maxBytes, method } = this.#request;
    const { address } = this.#limits;
    if (status < 200) {
      const bytes = Number(headers[acknowledgedHeader]);
      if (acknowledged && Number.isSafeInteger(bytes)) acknowledged(bytes);
      return;
    }
    const length = method === "HEAD" || status === 204 || status === 304 ? 0 : lengthOf(headers);
    if (length !== undefined && length > maxBytes) {
      this.fail(tooLong(address, maxBytes, length));
      return;
    }
    this.#headed = true;
    // A short reply is given when all of it is here: it has no pace that a reader could follow.
    if (length !== undefined && length < tinyBytes) {
      this.#short = this.#response(status, headers, { kind: "parts", parts: this.#parts });
      return;
    }
    const arriving = new ArrivingBody({
      byteLength: length,
      pause: () => this.#hold(controller, true),
      resume: () => this.#hold(controller, false),
      leave: () => {
        if (!this.#ended) this.#end();
      },
    });
    this.#arriving = arriving;
    this.#resolve(this.#response(status, headers, arriving.body));
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { maxBytes } = this.#request;
    this.#silence.moved();
    this.#bytes += chunk.byteLength;
    if (this.#bytes > maxBytes) this.fail(tooLong(this.#limits.address, maxBytes));
    else if (this.#short) this.#parts.push(chunk);
    else if (!this.#ended) this.#arriving?.came(chunk);
  }

  onResponseEnd(): void {
    const arriving = this.#arriving;
    this.#settle();
    this.#connection.answered();
    if (this.#short) this.#resolve(this.#short);
    else arriving?.end();
  }

  onResponseError(_controller: unknown, thrown: Error): void {
    if (this.#ended) return;
    const { body, call, repeatable } = this.#request;
    const stale = this.#started && this.#reused && !this.#answered && !LongshoreError.is(thrown);
    const here = body.kind === "parts" && !body.given;
    if (stale && repeatable && here && !this.#repeated && !call.abort.aborted) {
      this.#repeated = true;
      this.#connection.begin(this);
      return;
    }
    const cause = LongshoreError.is(thrown) ? thrown : (this.#connection.broken ?? thrown);
    const error = meaning(cause, this.#limits.address, {
      connected: this.#connection.connected,
      reused: this.#reused,
      answered: this.#answered,
      headed: this.#headed,
    });
    this.#fault(error);
  }

  /** Ends the exchange, and its connection, with this error. */
  fail(error: LongshoreError): void {
    if (this.#ended) return;
    const { socket } = this.#connection;
    if (socket && this.#started && !this.#headed) giveUp(socket);
    this.#fault(error);
  }

  #fault(error: LongshoreError): void {
    const arriving = this.#arriving;
    this.#failure = error;
    this.#end();
    if (arriving) arriving.gone(error);
    else this.#reject(error);
  }

  /** Nobody reads the reply any more, or there will be none. */
  #end(): void {
    this.#settle();
    this.#controller?.abort(this.#failure ?? new Error("the reply has no reader"));
    this.#connection.end(this.#failure);
  }

  #settle(): void {
    this.#ended = true;
    this.#connecting?.[Symbol.dispose]();
    this.#silence[Symbol.dispose]();
    this.#stopListening();
    this.#arriving = undefined;
  }

  /** The reader takes its time, or no more: the server is not silent. */
  #hold(controller: Dispatcher.DispatchController, holds: boolean): void {
    if (this.#ended) return;
    this.#silence.held(holds);
    if (holds) controller.pause();
    else controller.resume();
  }

  /** The head of a final reply is here. */
  #response(status: number, headers: IncomingHttpHeaders, body: WireBody): WireResponse {
    const response = { status, headers: flat(headers), body };
    const written = this.#sent && this.#connection.socket?.writableLength === 0;
    return written ? Object.assign(response, { written } as const) : response;
  }

  #dispatchOptions(): Dispatcher.DispatchOptions {
    const { method, path, headers, body, bodyBytes } = this.#request;
    if (body.kind === "parts") {
      const [only] = body.parts;
      if (body.parts.length < 2) return { method, path, headers, body: only ?? null };
      if ((bodyBytes ?? Infinity) <= joinedBytes)
        return { method, path, headers, body: Buffer.concat(body.parts) };
    }
    this.#inChunks = true;
    const announced = bodyBytes === undefined ? {} : { "content-length": String(bodyBytes) };
    // undici takes any iterable of bytes, which its types leave out.
    const sent = { [Symbol.asyncIterator]: () => this.#chunks() } as unknown as Buffer;
    return { method, path, headers: { ...headers, ...announced }, body: sent };
  }

  async *#chunks(): AsyncGenerator<Uint8Array> {
    const { body, bodyBytes = Infinity } = this.#request;
    const { socket } = this.#connection;
    if (body.kind === "parts") {
      // The head goes out together with the parts that fit beside it: each write of its own wakes the server. The parts are
      // read in microtasks, which come before the next tick only when this began in one.
      await Promise.resolve();
      socket?.cork();
      process.nextTick(() => socket?.uncork());
      yield* body.parts;
      this.#sent = true;
      return;
    }
    let bytes = 0;
    try {
      for await (const chunk of body.read()) {
        bytes += chunk.byteLength;
        // Bytes beyond the length would be read as the next request.
        if (bytes > bodyBytes) throw brokenBody(`a body of ${bodyBytes} bytes was announced, but more came`);
        yield chunk;
        // The giver may reuse a chunk when the next one is read, so it has to be out of the socket by then.
        await this.#flushed();
      }
    } catch (thrown) {
      throw LongshoreError.from(thrown, "transport", "sending the body");
    }
    if (bodyBytes !== Infinity && bytes !== bodyBytes) {
      throw brokenBody(`a body of ${bodyBytes} bytes was announced, but ${bytes} came`);
    }
    this.#sent = true;
  }

  async #flushed(): Promise<void> {
    const { socket } = this.#connection;
    if (!socket || socket.destroyed || socket.writableLength === 0) return;
    await new Promise<void>((resolve) => socket.write(nothing, () => resolve()));
  }
}

/** The announced length; undefined for chunks, or if the body ends with the connection. */
function lengthOf(headers: IncomingHttpHeaders): number | undefined {
  const length = headers["content-length"];
  return length === undefined ? undefined : Number(length);
}

/** Headers that came several times are joined, as a list of values is written. Nobody here reads cookies. */
function flat(headers: IncomingHttpHeaders): Readonly<Record<string, string>> {
  delete headers["set-cookie"];
  for (const name in headers) {
    const value = headers[name];
    if (typeof value !== "string") headers[name] = value?.join(", ");
  }
  return headers as Record<string, string>;
}
