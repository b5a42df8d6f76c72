import type { Socket } from "node:net";
import { LongshoreError, type WireBody, type WireResponse } from "@longshore/core";
import {
  abortError,
  acknowledgedHeader,
  ArrivingBody,
  brokenBody,
  whenAborted,
} from "@longshore/core/internal";
import { meaning, noAnswer, noHttp, tooLong, unreachable } from "./failure.ts";
import { giveUp } from "./give-up.ts";
import { handedOver } from "./handed-over.ts";
import type { ExchangeOptions } from "./node-exchange.ts";
import { PlainChunks } from "./plain-chunks.ts";
import { longestHead, type PlainHead, plainHeadIn } from "./plain-head.ts";
import type { PlainEvents, PlainRequest } from "./plain-request.ts";
import { type Silence, watchSilence } from "./silence.ts";

/** Requests up to so many bytes are copied together: one write costs less than several. */
const joinedBytes = 65_536;

const headStart = "HTTP/1.1 ";
const headEnd = Buffer.from("\r\n\r\n");

interface Asked extends PlainRequest {
  /** All of it was given to the socket. */
  sent: boolean;
  resolve(response: WireResponse): void;
  reject(error: LongshoreError): void;
}

const ignored = (): void => undefined;

/*
 * Node.js's client writes and reads HTTP for everybody, as streams of events. What is asked of an endpoint is one kind of
 * message: a request of known length, whose reply says once how long it is. Writing that in one piece and reading it by its
 * letters costs a part of it (ADR 20). As soon as a reply is anything else, well-formed or not, its bytes are Node.js's from
 * its first one on (`handed-over.ts`).
 *
 * Invariants: at most one exchange at a time; a connection is used again only when all of the request was written, the
 * reply ended where it said, nothing came behind it, and both sides want to keep it. What comes while nothing was asked
 * ends it.
 */
export class PlainConnection {
  readonly #socket: Socket;
  readonly #options: Omit<ExchangeOptions, "maxBytes">;
  readonly #events: PlainEvents;
  readonly #written: () => number;
  #asked: Asked | undefined;
  #connected = false;
  #reused = false;
  #stale = false;
  #answered = false;
  /** The connection may be used again, as far as the server says. */
  #head: PlainHead | undefined;
  /** The beginning of a head that came in pieces. */
  #early: Buffer | undefined;
  #arriving: ArrivingBody | undefined;
  #chunks: PlainChunks | undefined;
  #chunkBytes = 0;
  #silence: Silence | undefined;
  #connecting: Disposable | undefined;
  #unheard: (() => void) | undefined;
  #idleMs: number;
  /** The writer of a body goes on. */
  #goOn = ignored;

  /** @param keepAliveMs How long it waits for the next request. */
  constructor(
    socket: Socket,
    options: Omit<ExchangeOptions, "maxBytes">,
    keepAliveMs: number,
    events: PlainEvents,
  ) {
    this.#socket = socket;
    this.#options = options;
    this.#events = events;
    this.#idleMs = keepAliveMs;
    this.#written = () => socket.bytesWritten;
    socket.setTimeout(keepAliveMs);
    socket.on("connect", this.#onConnect).on("data", this.#onData).on("end", this.#onEnd);
    socket.on("error", this.#onError).on("close", this.#onClose).on("timeout", this.#onTimeout);
  }

  /** Whether a request can be sent on it now. */
  get usable(): boolean {
    const { destroyed, writable, readableEnded } = this.#socket;
    return !this.#asked && !destroyed && writable && !readableEnded;
  }

  /** Sends a request and gives its reply, as `Transport.send` does. Parts are listed: what is spread is of another shape each time. */
  send(request: PlainRequest): Promise<WireResponse> {
    const { head, body, bodyBytes, call, maxBytes, acknowledged, repeatable } = request;
    const sent = false;
    return new Promise((resolve, reject) =>
      this.#begin({ head, body, bodyBytes, call, maxBytes, acknowledged, repeatable, sent, resolve, reject }),
    );
  }

  /** It has answered requests before. */
  get reused(): boolean {
    return this.#reused;
  }

  /** It had answered before, and broke before the first byte of the next answer: its server had most likely closed it. */
  get stale(): boolean {
    return this.#stale;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #begin(asked: Asked): void {
    const { clock, address, connectTimeoutMs, idleTimeoutMs } = this.#options;
    const { abort } = asked.call;
    this.#asked = asked;
    this.#answered = false;
    this.#silence = watchSilence(clock, idleTimeoutMs, {
      written: this.#written,
      silent: () => this.#fail(noAnswer(address, `nothing came for ${idleTimeoutMs} ms`)),
    });
    if (!this.#connected) {
      this.#connecting = clock.timer(connectTimeoutMs, () =>
        this.#fail(unreachable(address, `no connection after ${connectTimeoutMs} ms`)),
      );
    }
    this.#unheard = whenAborted(abort, () => this.#fail(abortError(abort, "transport")));
    if (this.#reused) this.#socket.ref();
    this.#write(asked);
  }

  #write(asked: Asked): void {
    const { head, body, bodyBytes } = asked;
    const socket = this.#socket;
    if (body.kind === "stream") {
      this.#stream(asked, body).catch((thrown: unknown) => {
        const error = LongshoreError.from(thrown, "transport", "sending the body");
        if (this.#asked === asked) this.#fail(error);
        // Whoever reads the reply by now is told what became of it.
        else if (!asked.sent) socket.destroy(error);
      });
      return;
    }
    asked.sent = true;
    if (bodyBytes <= joinedBytes) {
      const whole = Buffer.allocUnsafe(head.byteLength + bodyBytes);
      whole.set(head);
      let offset = head.byteLength;
      for (const part of body.parts) {
        whole.set(part, offset);
        offset += part.byteLength;
      }
      socket.write(whole);
      return;
    }
    socket.cork();
    socket.write(head);
    for (const part of body.parts) socket.write(part);
    socket.uncork();
  }

  async #stream(asked: Asked, body: WireBody & { readonly kind: "stream" }): Promise<void> {
    const { head, bodyBytes } = asked;
    const socket = this.#socket;
    let bytes = 0;
    for await (const chunk of body.read()) {
      if (socket.destroyed) return;
      // It would begin nothing, and the next one begins.
      if (chunk.byteLength === 0) continue;
      const begins = bytes === 0;
      bytes += chunk.byteLength;
      // What is too long would be read as the next request.
      if (bytes > bodyBytes) throw brokenBody(`a body of ${bodyBytes} bytes was announced, but more came`);
      // When the next chunk is asked for, nobody looks at this one any more: that is what its giver may rely on.
      await new Promise<void>((resolve) => {
        this.#goOn = resolve;
        if (begins) {
          socket.cork();
          socket.write(head);
        }
        socket.write(chunk, () => resolve());
        if (begins) socket.uncork();
        if (bytes === bodyBytes) asked.sent = true;
      });
      if (socket.destroyed) return;
    }
    if (bytes !== bodyBytes)
      throw brokenBody(`a body of ${bodyBytes} bytes was announced, but ${bytes} came`);
    if (bytes > 0) return;
    asked.sent = true;
    socket.write(head);
  }

  readonly #onConnect = (): void => {
    this.#connected = true;
    this.#connecting?.[Symbol.dispose]();
    this.#silence?.moved();
  };

  readonly #onData = (chunk: Buffer): void => {
    if (!this.#asked) {
      this.#socket.destroy();
      return;
    }
    this.#answered = true;
    this.#silence?.moved();
    if (this.#arriving) this.#take(this.#arriving, chunk);
    else this.#read(this.#asked, this.#early ? Buffer.concat([this.#early, chunk]) : chunk);
  };

  readonly #onEnd = (): void => this.#fail(new Error("the server ended the connection"));
  readonly #onError = (thrown: Error): void => this.#fail(thrown);

  readonly #onClose = (): void => {
    this.#fail(new Error("the connection closed"));
    this.#goOn();
    this.#events.gone(this);
  };

  readonly #onTimeout = (): void => {
    if (!this.#asked) this.#socket.destroy();
  };

  /** Reads what came instead of a body: heads, until there is that of the reply. */
  #read(asked: Asked, came: Buffer): void {
    this.#early = undefined;
    let bytes = came;
    do {
      const end = bytes.indexOf(headEnd);
      if (end < 0 && mayBePlain(bytes)) {
        this.#early = bytes;
        return;
      }
      const head = end < 0 ? undefined : plainHeadIn(bytes, end + 4, this.#head);
      if (!head) {
        this.#handOver(asked, bytes);
        return;
      }
      bytes = bytes.subarray(end + 4);
      if (head.status >= 200) {
        this.#answer(asked, head, bytes);
        return;
      }
      const acknowledged = Number(head.headers[acknowledgedHeader]);
      if (Number.isSafeInteger(acknowledged)) asked.acknowledged?.(acknowledged);
    } while (bytes.byteLength > 0 && this.#asked === asked);
  }

  #answer({ maxBytes, resolve }: Asked, head: PlainHead, came: Buffer): void {
    const { status, headers, bodyBytes } = head;
    const written = this.#allWritten() ? ({ written: true } as const) : {};
    this.#head = head;
    if (bodyBytes !== undefined && bodyBytes > maxBytes) {
      this.#fail(tooLong(this.#options.address, maxBytes, bodyBytes));
      return;
    }
    if (bodyBytes !== undefined && came.byteLength >= bodyBytes) {
      this.#over(came.byteLength > bodyBytes);
      resolve({ status, headers, body: { kind: "parts", parts: [came.subarray(0, bodyBytes)] }, ...written });
      return;
    }
    if (bodyBytes === undefined) {
      this.#chunks = new PlainChunks();
      this.#chunkBytes = 0;
    }
    const arriving = new ArrivingBody({
      byteLength: bodyBytes,
      pause: () => this.#hold(arriving, true),
      resume: () => this.#hold(arriving, false),
      leave: () => {
        if (this.#arriving === arriving) this.#end();
      },
    });
    this.#arriving = arriving;
    resolve({ status, headers, body: arriving.body, ...written });
    if (came.byteLength > 0) this.#take(arriving, came);
  }

  /** Who reads takes its time, or no more: it is not the server that is silent. */
  #hold(arriving: ArrivingBody, holds: boolean): void {
    // By the time that all was read, the connection may be another exchange's.
    if (this.#arriving !== arriving) return;
    this.#silence?.held(holds);
    if (holds) this.#socket.pause();
    else this.#socket.resume();
  }

  #take(arriving: ArrivingBody, chunk: Buffer): void {
    if (this.#chunks) {
      this.#takeChunks(arriving, this.#chunks, chunk);
      return;
    }
    const beyond = chunk.byteLength - arriving.left;
    arriving.came(beyond > 0 ? chunk.subarray(0, arriving.left) : chunk);
    if (arriving.left === 0 && this.#arriving === arriving) this.#over(beyond > 0);
  }

  #takeChunks(arriving: ArrivingBody, chunks: PlainChunks, piece: Buffer): void {
    const { address } = this.#options;
    const maxBytes = this.#asked?.maxBytes ?? 0;
    try {
      const read = chunks.read(piece, (data) => {
        this.#chunkBytes += data.byteLength;
        if (this.#chunkBytes > maxBytes) throw tooLong(address, maxBytes);
        if (this.#arriving === arriving) arriving.came(data);
      });
      if (!chunks.done || this.#arriving !== arriving) return;
      arriving.end();
      this.#over(read < piece.byteLength || chunks.odd);
    } catch (thrown) {
      const error = LongshoreError.is(thrown) ? thrown : noHttp(address, String(thrown), thrown);
      this.#fail(error);
    }
  }

  /** Whether the request under way was handed to the system, to its last byte. */
  #allWritten(): boolean {
    return this.#asked?.sent === true && this.#socket.writableLength === 0;
  }

  /** All of the reply is here; `more` came than that, or what keeps the connection from being used again. */
  #over(more: boolean): void {
    const socket = this.#socket;
    const { keeps, keepsMs } = this.#head ?? { keeps: false, keepsMs: 0 };
    const again = keeps && keepsMs > 0 && !more && this.#allWritten();
    this.#settle();
    if (!again || socket.destroyed) {
      socket.destroy();
      return;
    }
    if (keepsMs < this.#idleMs) {
      this.#idleMs = keepsMs;
      socket.setTimeout(keepsMs);
    }
    if (socket.isPaused()) socket.resume();
    this.#reused = true;
    socket.unref();
    this.#events.free(this);
  }

  /** Ends the exchange under way, if any, with what this error means for it. */
  #fail(thrown: unknown): void {
    const asked = this.#asked;
    const givenUp = asked && !this.#arriving && LongshoreError.is(thrown);
    if (asked) {
      this.#stale = this.#reused && !this.#answered && !LongshoreError.is(thrown);
      const error = meaning(thrown, this.#options.address, {
        connected: this.#connected,
        reused: this.#reused,
        answered: this.#answered,
      });
      const arriving = this.#arriving;
      this.#settle();
      if (arriving) arriving.gone(error);
      else asked.reject(error);
    }
    if (givenUp) giveUp(this.#socket);
    else this.#socket.destroy();
  }

  /** Ends the exchange, whose reply nobody reads on, and the connection. */
  #end(): void {
    this.#settle();
    this.#socket.destroy();
  }

  #settle(): void {
    this.#connecting?.[Symbol.dispose]();
    this.#silence?.[Symbol.dispose]();
    this.#unheard?.();
    this.#asked = undefined;
    this.#arriving = undefined;
    this.#chunks = undefined;
    this.#early = undefined;
  }

  #handOver({ call, maxBytes, acknowledged, resolve, reject }: Asked, bytes: Buffer): void {
    const socket = this.#socket;
    this.#settle();
    socket.off("data", this.#onData).off("end", this.#onEnd).off("timeout", this.#onTimeout);
    socket.setTimeout(0);
    this.#events.odd();
    handedOver(socket, bytes, call, { ...this.#options, maxBytes }, acknowledged).then(resolve, reject);
  }
}

/** Whether what came so far could become a head that is read here. */
function mayBePlain(bytes: Buffer): boolean {
  if (bytes.byteLength > longestHead) return false;
  const text = bytes.toString("latin1");
  return text.startsWith(headStart.slice(0, text.length)) && !/(?:^|[^\r])\n/.test(text);
}
