import type { Peer } from "@longshore/core";
import { frameHead, frameTypes, mostWindow, numberFrame } from "./frame-words.ts";
import { headerBlock } from "./header-writer.ts";
import { keep } from "../../frame/index.ts";
import type { Parts } from "../../message/index.ts";
import type { CallHead, CallStream, StreamEvents } from "../call-stream.ts";

/** Bytes of a reply that may wait before the writer is held back. */
const waitingBytes = 65_536;

/** Bytes of a reply that were not sent yet, and what they are the rest of where that is freed once sent. */
interface Queued {
  readonly rest: Uint8Array;
  readonly memory: Uint8Array | undefined;
}

/** The connection of a stream, as the stream sees it. */
export interface StreamOwner {
  /** Window that each stream's client is given, in bytes. */
  readonly windowBytes: number;
  /** By how much a client may send more, while it does not know `windowBytes`. */
  readonly unknownBytes: number;
  /** Sends a frame or a part of one, text a byte for each character. */
  send(bytes: string | Uint8Array): void;
  /** Sends the last bytes of some memory, which is freed once they have left. */
  sendLast(part: Uint8Array, memory: Uint8Array): void;
  /** A block of headers as frames. */
  sendHeaders(stream: number, block: string, end: boolean): void;
  /** A stream has something to send: calls `sendSome` when it is its turn. */
  ready(stream: Http2Stream): void;
  /** Tells the client that a stream has ended, and closes it. */
  breakOff(stream: number, code: number): void;
  forget(stream: Http2Stream): void;
}

/** A call on a connection that is framed here: a stream of HTTP/2 (RFC 9113, 5.1). */
export class Http2Stream implements CallStream {
  readonly id: number;
  readonly head: CallHead;
  readonly peer: Peer;
  readonly #owner: StreamOwner;
  #events: StreamEvents | undefined;
  paused = false;
  ended = false;
  closed = false;
  begun = false;
  unsentBytes = 0;
  /** Bytes that came and were not read yet, while there is no listener or reading is paused. */
  readonly #kept: Uint8Array[] = [];
  /** The client has sent its last. */
  allHere: boolean;
  /** Bytes that the client may send, and that it has sent since it was last given more. */
  #window: number;
  #read = 0;
  /** Bytes that were announced and are still to come; undefined where nothing was said. */
  #announced: number | undefined;
  /** Bytes that may be sent to the client. */
  #sendWindow: number;
  readonly #queue: Queued[] = [];
  #trailers: string | undefined;
  #lastSent = false;

  /**
   * @param announced Of `content-length`.
   * @param last The headers are all that the client sends.
   */
  constructor(
    owner: StreamOwner,
    id: number,
    head: CallHead,
    peer: Peer,
    sendWindow: number,
    announced: number | undefined,
    last: boolean,
  ) {
    this.#owner = owner;
    this.id = id;
    this.head = head;
    this.peer = peer;
    this.#window = owner.windowBytes;
    this.#sendWindow = sendWindow;
    this.#announced = announced;
    this.allHere = last;
  }

  listen(events: StreamEvents): void {
    this.#events = events;
    this.#deliver();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.#deliver();
  }

  /**
   * Takes what came in a frame of data, in pieces. False where the client has sent more than it was allowed or announced,
   * for which the stream is reset.
   */
  came(chunk: Uint8Array): boolean {
    if (this.#announced !== undefined) {
      this.#announced -= chunk.byteLength;
      if (this.#announced < 0) return false;
    }
    if (this.#kept.length === 0 && this.#events && !this.paused) this.#hand(this.#events, chunk);
    else keep(this.#kept, chunk);
    return true;
  }

  /** Counts a frame of data against the window; false if it does not fit. */
  takesFrame(length: number, padding: number): boolean {
    this.#window -= length;
    this.#haveRead(padding);
    return length === 0 || this.#window + this.#owner.unknownBytes >= 0;
  }

  /** The client has sent its last; false where that was too early. */
  cameLast(): boolean {
    if (this.#announced) return false;
    this.allHere = true;
    this.#deliver();
    return true;
  }

  #hand(events: StreamEvents, chunk: Uint8Array): void {
    events.data(chunk);
    this.#haveRead(chunk.byteLength);
  }

  /** Lets the client send as much as was read, once that is worth a frame. */
  #haveRead(bytes: number): void {
    this.#read += bytes;
    if (this.closed || this.allHere || this.#read * 2 < this.#owner.windowBytes) return;
    this.#window += this.#read;
    this.#owner.send(numberFrame(frameTypes.window, this.id, this.#read));
    this.#read = 0;
  }

  #deliver(): void {
    const events = this.#events;
    if (!events) return;
    while (!this.paused && !this.closed) {
      const chunk = this.#kept.shift();
      if (chunk) this.#hand(events, chunk);
      else break;
    }
    if (!this.allHere || this.ended || this.paused || this.closed) return;
    this.ended = true;
    events.end();
    this.#closeOnceDone();
  }

  begin(headers: Readonly<Record<string, string>>, status = 200): void {
    this.#owner.sendHeaders(this.id, headerBlock(status, headers), false);
    this.begun = true;
  }

  write({ parts, byteLength, given = false }: Parts): boolean {
    for (const part of parts) this.#queue.push({ rest: part, memory: given ? part : undefined });
    this.unsentBytes += byteLength;
    this.#owner.ready(this);
    return this.unsentBytes < waitingBytes;
  }

  end(trailers: Readonly<Record<string, string>>, last?: Parts): void {
    this.#trailers = headerBlock(undefined, trailers);
    if (last) this.write(last);
    else this.#owner.ready(this);
  }

  answer(status: number, headers: Readonly<Record<string, string>>): void {
    this.#owner.sendHeaders(this.id, headerBlock(status, headers), true);
    this.begun = true;
    this.#sentLast();
  }

  /** Widens the window to send in; false beyond the protocol's limit. */
  widen(bytes: number): boolean {
    this.#sendWindow += bytes;
    if (this.unsentBytes > 0 && this.#sendWindow > 0) this.#owner.ready(this);
    return this.#sendWindow <= mostWindow;
  }

  /**
   * Sends a frame of the waiting bytes, and the end of the stream after the last.
   *
   * @param most Bytes that fit into a frame and into the connection's window.
   * @returns Bytes that were sent; 0 if the stream has to wait for its own window or has nothing.
   */
  sendSome(most: number): number {
    const length = Math.max(0, Math.min(this.unsentBytes, this.#sendWindow, most));
    if (length > 0) {
      this.#owner.send(frameHead(length, frameTypes.data, 0, this.id));
      this.#sendQueued(length);
      this.#sendWindow -= length;
    }
    if (this.#trailers !== undefined && this.unsentBytes === 0 && !this.#lastSent) {
      this.#owner.sendHeaders(this.id, this.#trailers, true);
      this.#sentLast();
    }
    return length;
  }

  #sendQueued(length: number): void {
    const full = this.unsentBytes >= waitingBytes;
    let left = length;
    let whole = 0;
    for (const { rest, memory } of this.#queue) {
      if (rest.byteLength > left) break;
      if (memory) this.#owner.sendLast(rest, memory);
      else this.#owner.send(rest);
      left -= rest.byteLength;
      whole += 1;
    }
    this.#queue.splice(0, whole);
    const [next] = this.#queue;
    if (left > 0 && next) {
      this.#owner.send(next.rest.subarray(0, left));
      this.#queue[0] = { rest: next.rest.subarray(left), memory: next.memory };
    }
    this.unsentBytes -= length;
    if (full && this.unsentBytes < waitingBytes) this.#events?.room();
  }

  #sentLast(): void {
    this.#lastSent = true;
    this.#closeOnceDone();
  }

  #closeOnceDone(): void {
    if (this.#lastSent && this.ended) this.close();
  }

  reset(code: number): void {
    if (this.closed) return;
    this.#owner.breakOff(this.id, code);
  }

  /** Ends the stream without a word to the client. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#queue.length = 0;
    this.#kept.length = 0;
    this.unsentBytes = 0;
    this.#owner.forget(this);
    this.#events?.closed();
  }
}
