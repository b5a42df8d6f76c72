import type { Socket } from "node:net";
import type { Peer, WireBody, WireRequest, WireResponse } from "@longshore/core";
import {
  acknowledgeHeader,
  type ConnectionAdmission,
  ArrivingBody,
  housekeepingCall,
  randomId,
  readMemoryBytes,
  type ReadBuffers,
  type StreamBody,
  type WholeBody,
} from "@longshore/core/internal";
import { beyondLimits } from "../admissions.ts";
import { Acknowledger } from "../acknowledger.ts";
import { type HttpExchangeParts, joinedBytes } from "../exchange.ts";
import { directSocket } from "./direct-socket.ts";
import { watchHalfClosed } from "../half-closed.ts";
import { KeptMemory, type SpareMemory } from "./kept-memory.ts";
import { Linger } from "../linger.ts";
import { endPlainly } from "../not-served.ts";
import { type PlainHead, PlainHeads } from "./plain-head.ts";
import { alignedCopy, ownCopy, whenLeft } from "./release.ts";
import { codedReply } from "../reply-coding.ts";
import { lastLine, replyHead } from "./reply-head.ts";

/*
 * Node.js reads HTTP for all uses: any message that is allowed, in pieces of any size, as streams of events. Clients of
 * inference send one kind of message: a POST of known length whose head comes in one piece and is the same every time on one
 * connection, with an occasional GET between. Reading that by its letters costs little beside what Node.js's server does for
 * it, and a large body is copied once less (ADR 28). So a connection begins here. As soon as bytes come that are not plain
 * beyond doubt (see `plainHead`), or in pieces, the connection belongs to Node.js from that message on, as if it had never been
 * here.
 */

/** The parts that all connections of a listener that are read here share. */
export interface Http1Parts extends HttpExchangeParts {
  /** Gives a connection to Node.js's server; its next bytes begin a message. */
  readonly handOver: (socket: Socket) => void;
}

/** Their further shared parts. */
export interface SharedParts extends Http1Parts {
  /** Memory that short requests are read into, one connection after another: code that keeps some of it copies it. */
  readonly memory: Uint8Array;
  /** Memory for bodies that are kept while they arrive. */
  readonly spare: SpareMemory;
  readonly date: () => string;
  /** The lines of a reply that is not the last. */
  readonly stays: string;
}

const ignored = (): void => undefined;

/** A connection that is read here until something comes that is not plain (RFC 9112, 9.3: persistent, pipelined requests in order). */
export class Http1Connection implements ReadBuffers {
  readonly #socket: Socket;
  readonly #parts: SharedParts;
  readonly #admission: ConnectionAdmission;
  /** The connection is no more, or Node.js's. */
  readonly #left: () => void;
  readonly #peer: Peer;
  readonly #ends: AbortSignal;
  readonly #heads: PlainHeads;
  #busy = false;
  /** A reply of which part may be sent: other bytes written now would be read as part of it. */
  #replying = false;
  /** The next reply is the last. */
  #closing = false;
  /** The body of the request under way, until all of it is here. */
  #arriving: ArrivingBody | undefined;
  /** The memory in which that body is kept. */
  #kept: KeptMemory | undefined;
  /** The last read went there. */
  #intoKept = false;
  /** Bytes that came after the request under way. */
  #behind: Buffer | undefined;
  /** Ends a message that takes too long to arrive, and a body without a reader. */
  #patience: Disposable | undefined;
  #patientMs = 0;
  /** The memory that is being read into, and whether that is the body's own. */
  #memory: Uint8Array;
  #inPlace = false;
  /** The last read brought much. Drops would each hold the memory of a whole read for as long as they wait. */
  #much = false;
  #handedOver = false;
  /** Ends a connection whose request was given up. */
  #lingering: (() => void) | undefined;

  constructor(accepted: Socket, parts: SharedParts, admission: ConnectionAdmission, left: () => void) {
    this.#admission = admission;
    this.#memory = parts.memory;
    this.#parts = parts;
    this.#heads = new PlainHeads(parts.options.maxHeaderBytes);
    this.#left = left;
    const direct = directSocket(accepted, this);
    const socket = direct ?? accepted;
    this.#socket = socket;
    this.#peer = parts.peerOf(socket);
    this.#ends = parts.endOf(socket);
    this.#patient(parts.options.headersTimeoutMs);
    socket.on("end", this.#onEnd).on("close", this.#onClose);
    socket.on("timeout", this.#onTimeout).on("error", ignored);
    if (direct) direct.resume();
    else accepted.on("data", this.#onData);
  }

  memory(): Uint8Array {
    const arriving = this.#arriving;
    const room = arriving?.room;
    this.#inPlace = room !== undefined;
    const keeps = !room && arriving !== undefined && this.#much && !this.#lingering;
    const kept = keeps ? this.#kept?.next(arriving.left) : undefined;
    this.#intoKept = kept !== undefined;
    this.#memory = room ?? kept ?? (keeps ? Buffer.allocUnsafeSlow(readMemoryBytes) : this.#parts.memory);
    return this.#memory;
  }

  came(bytes: number): void {
    const memory = this.#memory;
    this.#much = bytes > readMemoryBytes / 2;
    const chunk = Buffer.from(memory.buffer, memory.byteOffset, bytes);
    // Node.js's parser reads by itself; the bytes that it leaves go the usual way.
    if (this.#handedOver) this.#socket.push(Buffer.from(chunk));
    else if (this.#inPlace && this.#arriving) {
      this.#arriving.filled(bytes);
      this.#afterArrival(this.#arriving);
    } else if (this.#intoKept && this.#arriving) {
      this.#kept?.filled(bytes);
      this.#arriving.came(chunk);
      this.#afterArrival(this.#arriving);
    } else this.#take(chunk, memory);
  }

  endOnceIdle(): void {
    this.#closing = true;
    if (!this.#busy) this.#end();
  }

  /** Says that nothing more comes; a client that does not end its half then has a while to read the last reply. */
  #end(): void {
    const socket = this.#socket;
    this.#patience?.[Symbol.dispose]();
    socket.end(() => {
      if (!socket.destroyed) this.#destroyLater();
    });
  }

  #destroyLater(): void {
    const { clock, lingerMs } = this.#parts.options;
    this.#patience?.[Symbol.dispose]();
    this.#patience = clock.timer(lingerMs, () => this.#socket.destroy());
  }

  /** The socket that the connection is read from. */
  get socket(): Socket {
    return this.#socket;
  }

  readonly #onData = (chunk: Buffer): void => this.#take(chunk, chunk);

  /** Takes bytes that lie in memory which is used again, unless much of a body is arriving that has no memory of its own yet. */
  #take(chunk: Buffer, memory: Uint8Array): void {
    if (!this.#busy) this.#begin(chunk);
    else if (this.#arriving) this.#arrive(this.#arriving, chunk, memory);
    else this.#wait(chunk);
  }

  /** A client that ends its half has gone, or waits for the reply to its last request. */
  readonly #onEnd = (): void => {
    const waits = this.#busy && !this.#arriving && !this.#replying;
    this.#closing ||= waits;
    if (waits) this.#patience = watchHalfClosed(this.#socket, this.#parts.options.clock);
    else this.#socket.end();
  };

  readonly #onClose = (): void => {
    this.#patience?.[Symbol.dispose]();
    this.#arriving?.gone();
    this.#left();
  };

  readonly #onTimeout = (): void => {
    if (!this.#busy || this.#socket.writableLength > 0) this.#socket.destroy();
  };

  /** Keeps what came too early, and reads no more before it is served. */
  #wait(chunk: Buffer): void {
    this.#behind = this.#behind ? Buffer.concat([this.#behind, chunk]) : Buffer.from(chunk);
    this.#socket.pause();
  }

  #begin(chunk: Buffer): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    const head = this.#heads.read(chunk);
    if (!head) return this.#handOver(chunk);
    this.#busy = true;
    const first = chunk.subarray(head.text.length);
    if (first.byteLength >= head.bodyBytes) {
      if (first.byteLength > head.bodyBytes) this.#wait(first.subarray(head.bodyBytes));
      void this.#serve(head, {
        kind: "parts",
        parts: [alignedCopy(first, head.bodyBytes, head.headers)],
        own: true,
      });
      return;
    }
    const kept = new KeptMemory(this.#parts.spare, this.#parts.release);
    this.#kept = kept;
    const arriving = new ArrivingBody({
      byteLength: head.bodyBytes,
      release: (memory) => kept.free(memory),
      pause: () => this.#socket.pause(),
      resume: () => this.#socket.resume(),
    });
    this.#arriving = arriving;
    if (first.byteLength > 0) arriving.came(ownCopy(first));
    this.#awaitBody(arriving);
    void this.#serve(head, arriving.body);
  }

  /** Gives a body its time: all of it, and from one piece to the next as long as it is read. */
  #awaitBody(arriving: ArrivingBody): void {
    const { options } = this.#parts;
    const { clock, requestTimeoutMs, stallTimeoutMs } = options;
    const endMs = clock.nowMs() + requestTimeoutMs;
    let { left } = arriving;
    const look = (): void => {
      const leftMs = endMs - clock.nowMs();
      this.#patience = clock.timer(Math.min(stallTimeoutMs, leftMs), () => {
        const goesOn = arriving.left < left || this.#socket.isPaused();
        ({ left } = arriving);
        if (goesOn && leftMs > stallTimeoutMs) look();
        else if (this.#replying) this.#socket.destroy();
        else endPlainly(this.#socket, options, 408, "the request took too long to arrive");
      });
    };
    look();
  }

  #handOver(chunk: Buffer): void {
    const socket = this.#socket;
    this.#handedOver = true;
    socket.off("data", this.#onData).off("end", this.#onEnd).off("close", this.#onClose);
    socket.off("timeout", this.#onTimeout).off("error", ignored);
    socket.setTimeout(0);
    this.#left();
    socket.pause();
    socket.unshift(Buffer.from(chunk));
    this.#parts.handOver(socket);
    socket.resume();
  }

  #arrive(arriving: ArrivingBody, chunk: Buffer, memory: Uint8Array): void {
    const { left } = arriving;
    const beyond = chunk.byteLength > left ? Buffer.from(chunk.subarray(left)) : undefined;
    const bytes = beyond ? chunk.subarray(0, left) : chunk;
    if (memory !== this.#parts.memory) arriving.came(bytes, beyond ? bytes : memory);
    else if (this.#lingering) arriving.filled(bytes.byteLength);
    // Drops, and where the request before was still being served, so that the read had begun before there was a body.
    else arriving.came(ownCopy(bytes));
    if (beyond) this.#wait(beyond);
    this.#afterArrival(arriving);
  }

  #afterArrival(arriving: ArrivingBody): void {
    if (arriving.left === 0) {
      this.#arriving = undefined;
      this.#kept?.complete();
      this.#kept = undefined;
      this.#patience?.[Symbol.dispose]();
    }
    this.#lingering?.();
  }

  async #serve({ method, path, headers }: PlainHead, body: WireBody): Promise<void> {
    const { handler, options, sending } = this.#parts;
    const socket = this.#socket;
    const call = housekeepingCall(randomId(options.random), this.#ends);
    try {
      const { surfaces } = options;
      // Two of a fixed shape: one that is spread into the other would be of another shape each time.
      const asked: WireRequest = surfaces
        ? { method, path, headers, body, peer: this.#peer, surfaces }
        : { method, path, headers, body, peer: this.#peer };
      const tells = headers[acknowledgeHeader] !== undefined;
      const acknowledger = tells ? new Acknowledger(options.clock, socket) : undefined;
      const arrived = acknowledger && this.#arrived(acknowledger);
      const reply = beyondLimits(this.#admission, path, call.id) ?? (await handler(asked, call, arrived));
      acknowledger?.end();
      const accepted = headers["accept-encoding"];
      const coded = accepted === undefined ? reply : await sending.track(codedReply(reply, accepted, path));
      if (socket.destroyed || socket.writableEnded) return;
      // Tells the client not to use the connection again, so that nothing of it is under way when the port closes.
      const last = this.#closing || this.#parts.leaving() || this.#admission.probesOnly;
      this.#replying = true;
      if (coded.body.kind === "parts") this.#write(coded, coded.body, last);
      else await this.#stream(coded, coded.body, last);
      if (socket.writableLength > 0) void sending.track(whenLeft(socket));
      if (last) this.#end();
    } catch {
      // A handler answers its own failures; any other is a reply that broke off midway, which only a reset can tell.
      socket.destroy();
      return;
    }
    if (this.#arriving) this.#linger(this.#arriving);
    else this.#next();
  }

  #arrived(acknowledger: Acknowledger): (bytes: number) => void {
    return (bytes) => acknowledger.arrived(bytes, (this.#arriving?.left ?? 0) === 0);
  }

  #next(): void {
    const socket = this.#socket;
    // A client that sends on without reading the replies would have them all kept here.
    if (socket.writableNeedDrain) {
      socket.once("drain", () => this.#next());
      return;
    }
    this.#busy = false;
    this.#replying = false;
    const behind = this.#behind;
    this.#behind = undefined;
    if (behind) this.#begin(behind);
    else if (this.#closing) this.#end();
    if (!this.#behind && socket.isPaused()) socket.resume();
  }

  /** Reads and throws away the rest of a request that was answered early. */
  #linger(arriving: ArrivingBody): void {
    arriving.drop();
    const lingering = new Linger(this.#socket, this.#parts.options);
    this.#patience?.[Symbol.dispose]();
    this.#patience = lingering;
    let { left } = arriving;
    this.#lingering = () => {
      lingering.came(left - arriving.left);
      ({ left } = arriving);
      if (left > 0) return;
      this.#lingering = undefined;
      this.#next();
    };
    this.#socket.resume();
  }

  #headLines(reply: WireResponse, length: string, last: boolean): string {
    const { date, stays } = this.#parts;
    return replyHead(reply, length + date() + (last ? lastLine : stays));
  }

  #write(reply: WireResponse, body: WholeBody, last: boolean): void {
    const { options, release } = this.#parts;
    const socket = this.#socket;
    const length = body.parts.reduce((total, part) => total + part.byteLength, 0);
    const head = this.#headLines(reply, reply.status === 204 ? "" : `content-length: ${length}\r\n`, last);
    if (length <= joinedBytes) {
      const whole = Buffer.allocUnsafe(head.length + length);
      let offset = whole.write(head, "latin1");
      for (const part of body.parts) {
        whole.set(part, offset);
        offset += part.byteLength;
      }
      socket.write(whole);
      this.#patient(socket.writableLength > 0 ? options.replyTimeoutMs : options.keepAliveMs);
      return;
    }
    this.#patient(options.replyTimeoutMs);
    socket.cork();
    socket.write(head, "latin1");
    for (const part of body.parts) socket.write(part);
    socket.write("", () => {
      if (body.given) body.parts.forEach(release);
      this.#patient(options.keepAliveMs);
    });
    socket.uncork();
  }

  /** How long nothing may happen on the connection. */
  #patient(ms: number): void {
    if (this.#patientMs === ms) return;
    this.#patientMs = ms;
    this.#socket.setTimeout(ms);
  }

  /** A body of known length, or chunks (RFC 9112, 7.1). */
  async #stream(reply: WireResponse, body: StreamBody, last: boolean): Promise<void> {
    const socket = this.#socket;
    const { byteLength } = body;
    const chunked = byteLength === undefined;
    this.#patient(this.#parts.options.replyTimeoutMs);
    const length = chunked ? "transfer-encoding: chunked\r\n" : `content-length: ${byteLength}\r\n`;
    socket.write(this.#headLines(reply, length, last), "latin1");
    let goOn = ignored;
    const moved = (): void => goOn();
    socket.on("drain", moved).on("close", moved);
    let sent = 0;
    for await (const chunk of body.read()) {
      if (socket.destroyed) return;
      // An empty chunk would be the end.
      if (chunk.byteLength === 0) continue;
      sent += chunk.byteLength;
      socket.cork();
      if (chunked) socket.write(`${chunk.byteLength.toString(16)}\r\n`, "latin1");
      socket.write(chunk);
      if (chunked) socket.write("\r\n", "latin1");
      socket.uncork();
      if (!socket.writableNeedDrain) continue;
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
    }
    socket.off("drain", moved).off("close", moved);
    if (chunked) socket.write("0\r\n\r\n", "latin1");
    else if (sent !== byteLength) throw new Error("the reply is not as long as it was said to be");
    this.#patient(this.#parts.options.keepAliveMs);
  }
}
