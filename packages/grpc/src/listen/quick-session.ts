import type { Socket } from "node:net";
import type { Peer } from "@longshore/core";
import {
  codes,
  firstWindow,
  flags,
  frameHead,
  FrameReader,
  type FrameTaker,
  frameTypes,
  mostWindow,
  noTable,
  number16,
  number31,
  number32,
  numberFrame,
  plainFrameBytes,
  settings,
  settingsFrame,
} from "../http2/index.ts";
import type { CallStream } from "./call-stream.ts";
import { HeadReader } from "./head-reader.ts";
import type { CompleteOptions } from "./options.ts";
import { QuickStream, type StreamOwner } from "./quick-stream.ts";
import { ResetBudget } from "./reset-budget.ts";
import { SocketWriter } from "./socket-writer.ts";

/*
 * Node.js frames HTTP/2 for everybody, in C++ with a stream of JavaScript for each call, and crosses between the two many
 * times for a call of a kilobyte, which costs more than all else that is done for it. A connection of gRPC uses little of
 * HTTP/2: requests with bodies, replies with trailers, windows. That much is framed here (ADR 11), where whatever a client
 * may not do ends its stream or its connection. The state of a connection cannot be handed to Node.js once it has begun,
 * so, unlike in HTTP/1.1, all of it is understood here.
 *
 * Whatever a client makes us keep has a limit: calls and headers by the settings, data by the windows, replies that it
 * does not read by what is taken from streams at one time, and answers to its control frames by `mostUnsentBytes`.
 */

/** The largest frame of data that clients may send: fewer, larger frames cost less. */
export const maxFrameBytes: number = 2 ** 20;
/** Fields of a call's headers. */
export const maxHeaderFields = 128;
/** Padding and priority that a frame of headers may have besides. */
const besideHeaders = 512;
/** Unsent bytes at which a client that asks for more of them is not answered any longer. */
const mostUnsentBytes = 4 * 2 ** 20;
/** How long a connection that has ended here waits for the client's end. */
const lingerMs = 2000;

/** What all connections of a listener share. */
export interface SessionParts {
  readonly options: CompleteOptions;
  serve(stream: CallStream): void;
}

/** A block of headers that comes in several frames. */
interface OpenBlock {
  readonly stream: number;
  readonly last: boolean;
  readonly parts: Uint8Array[];
  bytes: number;
}

/** A connection that is framed here. */
export class QuickSession implements FrameTaker, StreamOwner {
  readonly windowBytes: number;
  readonly #socket: Socket;
  readonly #parts: SessionParts;
  readonly #peer: Peer;
  readonly #left: () => void;
  readonly #reader: FrameReader;
  readonly #heads: HeadReader;
  readonly #writer: SocketWriter;
  readonly #streams = new Map<number, QuickStream>();
  /** Those that have something to send and room in their windows, in their turn. */
  readonly #ready = new Set<QuickStream>();
  /** The highest stream that the client has begun. */
  #newest = 0;
  #settled = false;
  #closing = false;
  #over = false;
  #block: OpenBlock | undefined;
  /** The stream whose data is arriving. */
  #receiving: QuickStream | undefined;
  /** What the client may send, and what it has sent since it was last given more. */
  #window: number;
  #received = 0;
  #sendWindow = firstWindow;
  #streamWindow = firstWindow;
  #frameBytes = plainFrameBytes;
  /** Stands before the next block of headers, where the client has asked for a smaller table. */
  #tableSize = "";
  readonly #resets: ResetBudget;

  /** @param left Called when the connection is no more. */
  constructor(socket: Socket, parts: SessionParts, left: () => void) {
    const { options } = parts;
    this.#socket = socket;
    this.#parts = parts;
    this.#left = left;
    this.#peer = options.peerOf(socket);
    this.windowBytes = options.callWindowBytes;
    this.#window = Math.max(firstWindow, options.connectionWindowBytes);
    this.#resets = new ResetBudget(options.clock);
    const { maxHeaderBytes } = options;
    this.#reader = new FrameReader(this, {
      data: maxFrameBytes,
      others: Math.max(plainFrameBytes, maxHeaderBytes) + besideHeaders,
    });
    this.#heads = new HeadReader({ bytes: maxHeaderBytes, fields: maxHeaderFields });
    this.#writer = new SocketWriter(socket, options.replyTimeoutMs, () => this.#pump());
    socket.on("data", (chunk: Uint8Array) => this.#reader.take(chunk)).on("close", this.#onClose);
    socket.on("error", () => socket.destroy());
    this.send(
      settingsFrame([
        [settings.maxConcurrentStreams, options.maxConcurrentCalls],
        [settings.initialWindowSize, options.callWindowBytes],
        [settings.maxFrameSize, maxFrameBytes],
        [settings.maxHeaderListSize, maxHeaderBytes],
      ]),
    );
    if (this.#window > firstWindow) this.send(numberFrame(frameTypes.window, 0, this.#window - firstWindow));
  }

  /** Takes no more calls; the connection ends with the last of those under way. */
  close(): void {
    if (this.#closing || this.#over) return;
    this.#closing = true;
    this.send(numberFrame(frameTypes.goAway, 0, this.#newest, codes.none));
    this.#endOnceIdle();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  readonly #onClose = (): void => {
    this.#over = true;
    this.#reader.stop();
    for (const stream of this.#streams.values()) stream.close();
    this.#left();
  };

  #endOnceIdle(): void {
    if (!this.#closing || this.#streams.size > 0 || this.#over) return;
    this.#over = true;
    this.#writer.flush();
    this.#socket.end();
    // Who does not end its half has a while to read the last reply.
    this.#socket.setTimeout(lingerMs);
  }

  /** Ends the connection: from here on neither side understands the other. */
  broken(code: number): void {
    if (this.#over) return;
    this.send(numberFrame(frameTypes.goAway, 0, this.#newest, code));
    this.#over = true;
    this.#reader.stop();
    this.#writer.flush();
    for (const stream of this.#streams.values()) stream.close();
    this.#socket.destroySoon();
  }

  send(bytes: string | Uint8Array): void {
    if (!this.#over) this.#writer.send(bytes);
  }

  sendHeaders(stream: number, given: string, last: boolean): void {
    const block = this.#tableSize + given;
    this.#tableSize = "";
    const end = last ? flags.endStream : 0;
    if (block.length <= this.#frameBytes) {
      this.send(frameHead(block.length, frameTypes.headers, end | flags.endHeaders, stream) + block);
      return;
    }
    for (let at = 0; at < block.length; at += this.#frameBytes) {
      const part = block.slice(at, at + this.#frameBytes);
      const type = at === 0 ? frameTypes.headers : frameTypes.continuation;
      const done = at + part.length === block.length ? flags.endHeaders : 0;
      this.send(frameHead(part.length, type, (at === 0 ? end : 0) | done, stream) + part);
    }
  }

  /** A frame that the client makes us send; who does not read them is not served. */
  #answer(frame: string): void {
    if (this.#writer.unsentBytes > mostUnsentBytes) this.destroy();
    else this.send(frame);
  }

  ready(stream: QuickStream): void {
    this.#ready.add(stream);
    this.#pump();
  }

  forget(stream: QuickStream): void {
    this.#streams.delete(stream.id);
    this.#ready.delete(stream);
    if (this.#receiving === stream) this.#receiving = undefined;
    this.#endOnceIdle();
  }

  /** Lets streams send in turns, a frame each, until the client's windows or the socket are full. */
  #pump(): void {
    let blocked = 0;
    for (const stream of this.#ready) {
      if (!this.#writer.hasRoom) return;
      this.#ready.delete(stream);
      const sent = stream.sendSome(Math.min(this.#frameBytes, this.#sendWindow));
      this.#sendWindow -= sent;
      // Its own window opens again, or more comes to be sent.
      if (stream.unsentBytes === 0 || (sent === 0 && this.#sendWindow > 0)) continue;
      this.#ready.add(stream);
      blocked = sent > 0 ? 0 : blocked + 1;
      if (blocked >= this.#ready.size) return;
    }
  }

  dataBegins(id: number, length: number, padding: number): void {
    if (!this.#settled || this.#block || id === 0 || id > this.#newest) return this.broken(codes.protocol);
    this.#window -= length;
    if (this.#window < 0) return this.broken(codes.flowControl);
    this.#received += length;
    if (this.#received * 2 >= this.#parts.options.connectionWindowBytes) {
      this.#answer(numberFrame(frameTypes.window, 0, this.#received));
      this.#window += this.#received;
      this.#received = 0;
    }
    const stream = this.#streams.get(id);
    this.#receiving = stream;
    if (!stream) return;
    if (stream.allHere) this.#refuse(id, codes.streamClosed);
    else if (!stream.takesFrame(length, padding)) this.#refuse(id, codes.flowControl);
  }

  data(chunk: Uint8Array): void {
    const stream = this.#receiving;
    if (stream && !stream.came(chunk)) this.#refuse(stream.id, codes.protocol);
  }

  dataEnds(last: boolean): void {
    const stream = this.#receiving;
    this.#receiving = undefined;
    if (last && stream && !stream.cameLast()) this.#refuse(stream.id, codes.protocol);
  }

  /** Ends a stream for what its client did, which may not do so for ever. */
  #refuse(id: number, code: number): void {
    this.#answer(numberFrame(frameTypes.reset, id, code));
    this.#streams.get(id)?.close();
    this.#countReset();
  }

  frame(type: number, flag: number, id: number, payload: Uint8Array): void {
    if (this.#block ? type !== frameTypes.continuation : !this.#settled && type !== frameTypes.settings)
      return this.broken(codes.protocol);
    switch (type) {
      case frameTypes.headers:
        return this.#headers(flag, id, payload);
      case frameTypes.continuation:
        return this.#continued(flag, id, payload);
      case frameTypes.settings:
        return this.#settings(flag, id, payload);
      case frameTypes.window:
        return this.#widen(id, payload);
      case frameTypes.reset:
        return this.#reset(id, payload);
      case frameTypes.ping:
        if (payload.byteLength !== 8) return this.broken(codes.frameSize);
        if (id !== 0) return this.broken(codes.protocol);
        if ((flag & flags.ack) === 0)
          this.#answer(frameHead(8, type, flags.ack, 0) + String.fromCharCode(...payload));
        return;
      case frameTypes.goAway:
        if (id !== 0) return this.broken(codes.protocol);
        if (payload.byteLength < 8) return this.broken(codes.frameSize);
        return this.close();
      case frameTypes.priority:
        if (id === 0) return this.broken(codes.protocol);
        if (payload.byteLength !== 5) return this.broken(codes.frameSize);
        return;
      case frameTypes.promise:
        return this.broken(codes.protocol);
      default:
      // Frames of kinds that nobody here knows mean nothing.
    }
  }

  #headers(flag: number, id: number, payload: Uint8Array): void {
    if (id % 2 === 0) return this.broken(codes.protocol);
    const padded = (flag & flags.padded) !== 0;
    const from = (padded ? 1 : 0) + ((flag & flags.priority) === 0 ? 0 : 5);
    const to = payload.byteLength - (padded ? (payload[0] ?? 0) : 0);
    if (from > to) return this.broken(codes.protocol);
    const block = payload.subarray(from, to);
    const last = (flag & flags.endStream) !== 0;
    if ((flag & flags.endHeaders) !== 0) this.#begin(id, last, block);
    else this.#block = { stream: id, last, parts: [block.slice()], bytes: block.byteLength };
  }

  #continued(flag: number, id: number, payload: Uint8Array): void {
    const open = this.#block;
    if (!open || open.stream !== id) return this.broken(codes.protocol);
    open.parts.push(payload.slice());
    // An empty frame costs, too.
    open.bytes += Math.max(payload.byteLength, 256);
    if (open.bytes > this.#parts.options.maxHeaderBytes) return this.broken(codes.enhanceYourCalm);
    if ((flag & flags.endHeaders) === 0) return;
    this.#block = undefined;
    this.#begin(id, open.last, Buffer.concat(open.parts));
  }

  #begin(id: number, last: boolean, block: Uint8Array): void {
    const read = this.#heads.read(block);
    if (read === "broken") return this.broken(codes.compression);
    if (id <= this.#newest) {
      // Trailers, of which calls have no use; of a stream that is over here they may still be under way.
      const stream = this.#streams.get(id);
      if (!stream) return;
      if (!last || stream.allHere || !stream.cameLast()) this.#refuse(id, codes.protocol);
      return;
    }
    this.#newest = id;
    if (read === "too large") return this.#refuse(id, codes.enhanceYourCalm);
    if (read === "malformed" || (last && read.announced)) return this.#refuse(id, codes.protocol);
    if (this.#closing || this.#streams.size >= this.#parts.options.maxConcurrentCalls)
      return this.#refuse(id, codes.refused);
    const { head, announced } = read;
    const stream = new QuickStream(this, id, head, this.#peer, this.#streamWindow, announced, last);
    this.#streams.set(id, stream);
    this.#parts.serve(stream);
  }

  #settings(flag: number, id: number, payload: Uint8Array): void {
    if (id !== 0) return this.broken(codes.protocol);
    const ack = (flag & flags.ack) !== 0;
    if (ack ? payload.byteLength > 0 : payload.byteLength % 6 !== 0) return this.broken(codes.frameSize);
    this.#settled = true;
    if (ack) return;
    for (let at = 0; at < payload.byteLength && !this.#over; at += 6)
      this.#setting(number16(payload, at), number32(payload, at + 2));
    this.#answer(frameHead(0, frameTypes.settings, flags.ack, 0));
    this.#pump();
  }

  #setting(setting: number, value: number): void {
    switch (setting) {
      case settings.headerTableSize:
        this.#tableSize = noTable;
        return;
      case settings.enablePush:
        if (value > 1) this.broken(codes.protocol);
        return;
      case settings.initialWindowSize: {
        if (value > mostWindow) return this.broken(codes.flowControl);
        const more = value - this.#streamWindow;
        this.#streamWindow = value;
        for (const stream of this.#streams.values())
          if (!stream.widen(more)) return this.broken(codes.flowControl);
        return;
      }
      case settings.maxFrameSize:
        if (value < plainFrameBytes || value >= 2 ** 24) return this.broken(codes.protocol);
        this.#frameBytes = value;
        return;
      default:
    }
  }

  #widen(id: number, payload: Uint8Array): void {
    if (payload.byteLength !== 4) return this.broken(codes.frameSize);
    const more = number31(payload, 0);
    if (id > this.#newest || (more === 0 && id === 0)) return this.broken(codes.protocol);
    if (id === 0) {
      this.#sendWindow += more;
      if (this.#sendWindow > mostWindow) return this.broken(codes.flowControl);
      return this.#pump();
    }
    const stream = this.#streams.get(id);
    if (!stream) return;
    if (more === 0) this.#refuse(id, codes.protocol);
    else if (!stream.widen(more)) this.#refuse(id, codes.flowControl);
  }

  #reset(id: number, payload: Uint8Array): void {
    if (payload.byteLength !== 4) return this.broken(codes.frameSize);
    if (id === 0 || id > this.#newest) return this.broken(codes.protocol);
    this.#streams.get(id)?.close();
    this.#countReset();
  }

  #countReset(): void {
    if (!this.#resets.spend()) this.broken(codes.enhanceYourCalm);
  }
}
