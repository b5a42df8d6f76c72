import type { Socket } from "node:net";
import type { Peer } from "@longshore/core";
import type { ConnectionAdmission } from "@longshore/core/internal";
import { FrameReader, type FrameTaker, number31 } from "./frame-reader.ts";
import {
  codes,
  firstWindow,
  flags,
  frameHead,
  frameTypes,
  mostWindow,
  numberFrame,
  settings,
  settingsFrame,
} from "./frame-words.ts";
import { type Block, HeaderBlocks } from "./header-blocks.ts";
import { Allowance } from "./allowance.ts";
import { BrokenOff } from "./broken-off.ts";
import { HeadReader } from "./head-reader.ts";
import { ClientSettings, maxFrameBytes } from "./client-settings.ts";
import { Http2Stream, type StreamOwner } from "./stream.ts";
import { readSocket } from "./read-socket.ts";
import { maxHeaderFields, type Session, type SessionParts } from "../session.ts";
import { ConnectionTimes, type Timed } from "./connection-times.ts";
import { SocketWriter } from "./socket-writer.ts";
import { StreamList } from "./stream-list.ts";

/*
 * Node.js frames HTTP/2 for all uses, in C++ with a stream of JavaScript for each call, and crosses between the two many times
 * for a call of a kilobyte, which costs more than all other work for it. A connection of gRPC uses little of HTTP/2: requests
 * with bodies, replies with trailers, windows. That much is framed here (ADR 28); a forbidden frame ends its stream or its
 * connection. The state of a connection cannot be handed to Node.js once it has begun, so, unlike in HTTP/1.1, all of it is
 * understood here.
 *
 * All memory that a client can make us keep has a limit: calls and headers by the settings, data by the windows. Replies that
 * it does not read are bounded by taking little from streams at one time, and by reading no more from the client
 * (`SocketWriter`).
 */

/** Padding and priority that a frame of headers may have besides. */
const besideHeaders = 512;
/**
 * Bytes of a block of headers, as it comes, that are read to the end, so that headers above the limit cost their own call
 * alone: others share the connection.
 */
const blockBytes = 65_536;

/** A connection that is framed here. */
export class Http2Connection implements FrameTaker, Session, StreamOwner, Timed {
  readonly windowBytes: number;
  readonly #socket: Socket;
  readonly #parts: SessionParts;
  readonly #admission: ConnectionAdmission;
  readonly #peer: Peer;
  readonly #left: () => void;
  readonly #reader: FrameReader;
  readonly #heads: HeadReader;
  readonly #writer: SocketWriter;
  readonly #streams = new StreamList();
  /** Streams with bytes to send and room in their windows, in their turn. */
  readonly #ready = new StreamList();
  /** The highest stream that the client has begun. */
  #newest = 0;
  #settled = false;
  #closing = false;
  #over = false;
  /** The client has taken our settings. */
  #agreed = false;
  readonly #blocks: HeaderBlocks;
  /** The stream whose data is arriving. */
  #receiving: Http2Stream | undefined;
  /** The bytes that the client may send, less those sent since the last update. */
  #window: number;
  #received = 0;
  #sendWindow = firstWindow;
  readonly #client = new ClientSettings();
  readonly #resets: Allowance;
  readonly #changes: Allowance;
  /** Frames that cost work and carry nothing, since data or a call came or data was sent. */
  readonly #empty: Allowance;
  readonly #brokenOff = new BrokenOff();
  readonly #times: ConnectionTimes;

  /** @param left Called when the connection is no more. */
  constructor(accepted: Socket, parts: SessionParts, admission: ConnectionAdmission, left: () => void) {
    this.#admission = admission;
    const { options } = parts;
    this.#socket = readSocket(accepted, options, parts.memory, this.#onData);
    this.#parts = parts;
    this.#left = left;
    this.#peer = options.peerOf(this.#socket);
    this.windowBytes = options.callWindowBytes;
    this.#window = Math.max(firstWindow, options.connectionWindowBytes);
    this.#resets = new Allowance(options.clock);
    this.#changes = new Allowance(options.clock);
    this.#empty = new Allowance(options.clock);
    const mostBlockBytes = Math.max(blockBytes, options.maxHeaderBytes);
    this.#blocks = new HeaderBlocks(mostBlockBytes);
    this.#reader = new FrameReader(this, { data: maxFrameBytes, others: mostBlockBytes + besideHeaders });
    this.#heads = new HeadReader({ bytes: options.maxHeaderBytes, fields: maxHeaderFields });
    this.#writer = new SocketWriter(this.#socket, parts, () => this.#pump());
    this.#times = new ConnectionTimes(this, parts);
    this.#socket.on("close", this.#onClose).on("error", () => this.destroy());
    this.send(
      settingsFrame([
        [settings.maxConcurrentStreams, options.maxConcurrentCalls],
        [settings.initialWindowSize, options.callWindowBytes],
        [settings.maxFrameSize, maxFrameBytes],
        [settings.maxHeaderListSize, options.maxHeaderBytes],
      ]),
    );
    if (this.#window > firstWindow) this.send(numberFrame(frameTypes.window, 0, this.#window - firstWindow));
  }

  get unknownBytes(): number {
    return this.#agreed ? 0 : Math.max(0, firstWindow - this.windowBytes);
  }

  /** Takes no more calls; the connection ends with the last of those under way (GOAWAY: RFC 9113, 6.8). */
  close(): void {
    if (this.#closing || this.#over) return;
    this.#closing = true;
    this.send(numberFrame(frameTypes.goAway, 0, this.#newest, codes.none));
    this.#endOnceIdle();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  readonly #onData = (chunk: Uint8Array): void => {
    this.#reader.take(chunk);
    if (this.#over) return;
    this.#writer.holdBack();
    this.#times.look();
  };

  get partial(): boolean {
    return this.#reader.partial || this.#blocks.open;
  }

  get progress(): number {
    // A block of headers has one time for all its frames.
    return this.#blocks.open ? -this.#blocks.begun : this.#reader.progress;
  }

  get heldBack(): boolean {
    return this.#socket.isPaused();
  }

  readonly #onClose = (): void => {
    this.#stop();
    for (const stream of this.#streams.all) stream.close();
    this.#left();
  };

  #endOnceIdle(): void {
    if (this.#closing && this.#streams.size === 0 && !this.#over) this.#end();
  }

  #stop(): void {
    this.#over = true;
    this.#reader.stop();
    this.#times.stop();
  }

  #end(): void {
    this.#stop();
    this.#writer.end();
  }

  /** Ends the connection with an error (RFC 9113, 5.4.1): from here on neither side understands the other. */
  broken(code: number): void {
    if (this.#over) return;
    this.send(numberFrame(frameTypes.goAway, 0, this.#newest, code));
    this.#end();
    for (const stream of this.#streams.all) stream.close();
  }

  send(bytes: string | Uint8Array): void {
    if (!this.#over) this.#writer.send(bytes);
  }

  sendLast(part: Uint8Array, memory: Uint8Array): void {
    if (this.#over) return;
    this.#writer.send(part);
    this.#writer.freeOnceSent(memory);
  }

  sendHeaders(stream: number, given: string, last: boolean): void {
    const block = this.#client.takeTableSize() + given;
    const end = last ? flags.endStream : 0;
    if (block.length <= this.#client.frameBytes) {
      this.send(frameHead(block.length, frameTypes.headers, end | flags.endHeaders, stream) + block);
      return;
    }
    for (let at = 0; at < block.length; at += this.#client.frameBytes) {
      const part = block.slice(at, at + this.#client.frameBytes);
      const type = at === 0 ? frameTypes.headers : frameTypes.continuation;
      const done = at + part.length === block.length ? flags.endHeaders : 0;
      this.send(frameHead(part.length, type, (at === 0 ? end : 0) | done, stream) + part);
    }
  }

  ready(stream: Http2Stream): void {
    if (stream.unsentBytes === 0) {
      // The end of a stream needs no window.
      stream.sendSome(0);
      return;
    }
    this.#ready.add(stream);
    this.#pump();
  }

  breakOff(id: number, code: number): void {
    this.send(numberFrame(frameTypes.reset, id, code));
    this.#brokenOff.add(id);
    this.#streams.find(id)?.close();
  }

  forget(stream: Http2Stream): void {
    this.#streams.remove(stream);
    this.#ready.remove(stream);
    if (this.#receiving === stream) this.#receiving = undefined;
    if (this.#streams.size === 0) this.#times.idle();
    this.#endOnceIdle();
  }

  /** Lets streams send in turns, a frame each, until the client's windows or the socket are full. */
  #pump(): void {
    while (this.#sendWindow > 0 && this.#writer.hasRoom) {
      const stream = this.#ready.take();
      if (!stream) return;
      const sent = stream.sendSome(Math.min(this.#client.frameBytes, this.#sendWindow));
      this.#sendWindow -= sent;
      if (sent > 0) this.#empty.refill();
      // One whose own window is used up comes again when that opens.
      if (sent > 0 && stream.unsentBytes > 0) this.#ready.add(stream);
    }
  }

  /** DATA (RFC 9113, 6.1), counted against the windows of connection and stream (6.9.1). */
  dataBegins(id: number, length: number, padding: number): void {
    if (!this.#settled || this.#blocks.open || this.#isIdle(id)) return this.broken(codes.protocol);
    if (length > padding) this.#empty.refill();
    else if (!this.#empty.spend()) return this.broken(codes.enhanceYourCalm);
    this.#window -= length;
    if (this.#window < 0) return this.broken(codes.flowControl);
    this.#received += length;
    if (this.#received * 2 >= this.#parts.options.connectionWindowBytes) {
      this.send(numberFrame(frameTypes.window, 0, this.#received));
      this.#window += this.#received;
      this.#received = 0;
    }
    const stream = this.#streams.find(id);
    this.#receiving = stream;
    if (!stream) return this.#late(id);
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

  /** Whether a stream has not begun yet (RFC 9113, 5.1). */
  #isIdle(id: number): boolean {
    return id % 2 === 0 || id > this.#newest;
  }

  /** A frame has come on a stream that has ended, or that was left out. */
  #late(id: number): void {
    if (!this.#brokenOff.mayHave(id)) this.broken(codes.streamClosed);
  }

  /** Ends a stream with an error (RFC 9113, 5.4.2). A client may cause only so many (10.5). */
  #refuse(id: number, code: number): void {
    this.breakOff(id, code);
    this.#countReset();
  }

  /** All other frames: RFC 9113, 6.2 to 6.10. Unknown types are ignored (5.5). */
  frame(type: number, flag: number, id: number, payload: Uint8Array): void {
    if (this.#blocks.open ? type !== frameTypes.continuation : !this.#settled && type !== frameTypes.settings)
      return this.broken(codes.protocol);
    if (type === frameTypes.headers) this.#empty.refill();
    else if (type !== frameTypes.continuation && !this.#empty.spend())
      return this.broken(codes.enhanceYourCalm);
    switch (type) {
      case frameTypes.headers:
        return this.#begin(this.#blocks.begin(flag, id, payload));
      case frameTypes.continuation:
        return this.#begin(this.#blocks.goOn(flag, id, payload));
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
          this.send(frameHead(8, type, flags.ack, 0) + String.fromCharCode(...payload));
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
      // Frames of unknown kinds are ignored.
    }
  }

  /** HEADERS with their CONTINUATION: a request or its trailers (RFC 9113, 5.1.1, 6.2, 6.10, 8.1). */
  #begin(block: Block | number | undefined): void {
    if (block === undefined) return;
    if (typeof block === "number") return this.broken(block);
    const { stream: id, last, bytes } = block;
    const read = this.#heads.read(bytes);
    if (read === "broken") return this.broken(codes.compression);
    if (id <= this.#newest) {
      // Trailers, of which calls have no use.
      const stream = this.#streams.find(id);
      if (!stream) return this.#late(id);
      if (stream.allHere) this.#refuse(id, codes.streamClosed);
      else if (!last || !stream.cameLast()) this.#refuse(id, codes.protocol);
      return;
    }
    this.#newest = id;
    if (read === "too large") return this.#refuse(id, codes.enhanceYourCalm);
    if (read === "malformed" || (last && read.announced)) return this.#refuse(id, codes.protocol);
    if (this.#closing || this.#streams.size >= this.#parts.options.maxConcurrentCalls)
      return this.#refuse(id, codes.refused);
    const { head, announced } = read;
    this.#times.busy();
    const stream = new Http2Stream(this, id, head, this.#peer, this.#client.streamWindow, announced, last);
    this.#parts.serve(this.#streams.add(stream), this.#admission);
  }

  /** SETTINGS and their acknowledgement (RFC 9113, 6.5). A new initial window changes that of all streams (6.9.2). */
  #settings(flag: number, id: number, payload: Uint8Array): void {
    if (id !== 0) return this.broken(codes.protocol);
    const ack = (flag & flags.ack) !== 0;
    if (ack ? payload.byteLength > 0 : payload.byteLength % 6 !== 0) return this.broken(codes.frameSize);
    if (!this.#settled) this.#times.opened();
    this.#settled = true;
    this.#agreed ||= ack;
    if (ack) return;
    // Each of them goes over all calls.
    if (!this.#changes.spend()) return this.broken(codes.enhanceYourCalm);
    const before = this.#client.streamWindow;
    const wrong = this.#client.take(payload);
    if (wrong !== undefined) return this.broken(wrong);
    // Before anything that the new settings let go out (6.5.3).
    this.send(frameHead(0, frameTypes.settings, flags.ack, 0));
    const more = this.#client.streamWindow - before;
    for (const stream of more === 0 ? [] : this.#streams.all)
      if (!stream.widen(more)) return this.broken(codes.flowControl);
  }

  /** WINDOW_UPDATE (RFC 9113, 6.9). */
  #widen(id: number, payload: Uint8Array): void {
    if (payload.byteLength !== 4) return this.broken(codes.frameSize);
    const more = number31(payload, 0);
    if (id === 0) {
      if (more === 0) return this.broken(codes.protocol);
      this.#sendWindow += more;
      if (this.#sendWindow > mostWindow) return this.broken(codes.flowControl);
      return this.#pump();
    }
    if (this.#isIdle(id)) return this.broken(codes.protocol);
    const stream = this.#streams.find(id);
    if (!stream) return;
    if (more === 0) this.#refuse(id, codes.protocol);
    else if (!stream.widen(more)) this.#refuse(id, codes.flowControl);
  }

  /** RST_STREAM (RFC 9113, 6.4). A client may reset only so many calls before they are answered (10.5). */
  #reset(id: number, payload: Uint8Array): void {
    if (payload.byteLength !== 4) return this.broken(codes.frameSize);
    if (this.#isIdle(id)) return this.broken(codes.protocol);
    const stream = this.#streams.find(id);
    stream?.close();
    // Proxies end each call of `ext_proc` so. A call that was being answered, or had been, was not made for nothing.
    if (stream && !stream.begun) this.#countReset();
  }

  #countReset(): void {
    if (!this.#resets.spend()) this.broken(codes.enhanceYourCalm);
  }
}
