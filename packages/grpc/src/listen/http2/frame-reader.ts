import { codes, flags, frameHeadBytes, frameTypes, preface } from "./frame-words.ts";

/** The receiver of a connection's frames. */
export interface FrameTaker {
  /** A whole frame other than data; its payload is lent for the call. */
  frame(type: number, flag: number, stream: number, payload: Uint8Array): void;
  /** A frame of data begins. `length` is what windows count, of which `padding` is thrown away. */
  dataBegins(stream: number, length: number, padding: number): void;
  /** Some of its data, lent for the call. */
  data(chunk: Uint8Array): void;
  dataEnds(last: boolean): void;
  /** The connection cannot be understood, for one of HTTP/2's codes. */
  broken(code: number): void;
}

/** How large frames may be. */
export interface Http2FrameLimits {
  /** Bytes of a frame of data. */
  readonly data: number;
  /** Bytes of any other frame, of which all has to be here before it is looked at. */
  readonly others: number;
}

const whole = (bytes: Uint8Array, at: number, length: number): number => {
  let value = 0;
  for (let index = at; index < at + length; index++) value = value * 256 + (bytes[index] ?? 0);
  return value;
};

/** A stream's number, or another whole number of 31 bits. */
export const number31 = (bytes: Uint8Array, at: number): number => whole(bytes, at, 4) % 2 ** 31;

/** A whole number of two bytes, and of four. */
export const number16 = (bytes: Uint8Array, at: number): number => whole(bytes, at, 2);
export const number32 = (bytes: Uint8Array, at: number): number => whole(bytes, at, 4);

/** Takes the bytes of a connection apart into frames, from its preface on, wherever they are cut. */
export class FrameReader {
  readonly #taker: FrameTaker;
  readonly #limits: Http2FrameLimits;
  #behind: Uint8Array | undefined;
  #begun = false;
  /** Of the frame of data that is arriving. */
  #inData = false;
  #dataLeft = 0;
  #paddingLeft = 0;
  #last = false;
  #stopped = false;
  #progress = 0;

  constructor(taker: FrameTaker, limits: Http2FrameLimits) {
    this.#taker = taker;
    this.#limits = limits;
  }

  /** A frame, or the preface, has begun and not ended. */
  get partial(): boolean {
    return this.#inData || this.#behind !== undefined;
  }

  /** Grows with each frame that is complete, and with each piece of data. */
  get progress(): number {
    return this.#progress;
  }

  /** No more frames are passed on. */
  stop(): void {
    this.#stopped = true;
    this.#behind = undefined;
  }

  /** @param chunk Lent for the call. */
  take(chunk: Uint8Array): void {
    if (this.#stopped) return;
    let bytes = chunk;
    if (this.#behind) {
      bytes = new Uint8Array(this.#behind.byteLength + chunk.byteLength);
      bytes.set(this.#behind);
      bytes.set(chunk, this.#behind.byteLength);
      this.#behind = undefined;
    }
    let at = this.#begun ? 0 : this.#takePreface(bytes);
    while (this.#begun && !this.#stopped) {
      const data = this.#inData;
      const next = data ? this.#takeData(bytes, at) : this.#takeFrame(bytes, at);
      // An empty frame of data has no bytes and ends here.
      if (next === at && data === this.#inData) break;
      at = next;
      this.#progress += 1;
    }
    if (!this.#stopped && at < bytes.byteLength) this.#behind = bytes.slice(at);
  }

  /** Where frames begin; 0 while the preface is incomplete. */
  #takePreface(bytes: Uint8Array): number {
    const here = Math.min(bytes.byteLength, preface.length);
    for (let at = 0; at < here; at++) {
      if (bytes[at] !== preface.codePointAt(at)) {
        this.#taker.broken(codes.protocol);
        return 0;
      }
    }
    if (here < preface.length) return 0;
    this.#begun = true;
    return preface.length;
  }

  #takeData(bytes: Uint8Array, from: number): number {
    let at = from;
    const here = Math.min(this.#dataLeft, bytes.byteLength - at);
    if (here > 0) {
      this.#dataLeft -= here;
      this.#taker.data(bytes.subarray(at, at + here));
      at += here;
    }
    if (this.#dataLeft > 0) return at;
    const padding = Math.min(this.#paddingLeft, bytes.byteLength - at);
    this.#paddingLeft -= padding;
    at += padding;
    if (this.#paddingLeft > 0) return at;
    this.#inData = false;
    this.#taker.dataEnds(this.#last);
    return at;
  }

  /** The position after the frame; the same position if more bytes must come first. */
  #takeFrame(bytes: Uint8Array, at: number): number {
    if (bytes.byteLength - at < frameHeadBytes) return at;
    const length = whole(bytes, at, 3);
    const type = bytes[at + 3] ?? 0;
    const flag = bytes[at + 4] ?? 0;
    const stream = number31(bytes, at + 5);
    const begin = at + frameHeadBytes;
    if (length > (type === frameTypes.data ? this.#limits.data : this.#limits.others)) {
      this.#taker.broken(codes.frameSize);
      return at;
    }
    if (type !== frameTypes.data) {
      if (bytes.byteLength - begin < length) return at;
      this.#taker.frame(type, flag, stream, bytes.subarray(begin, begin + length));
      return begin + length;
    }
    const padded = (flag & flags.padded) !== 0;
    if (padded && length > 0 && bytes.byteLength === begin) return at;
    const padding = padded ? (bytes[begin] ?? 0) + 1 : 0;
    if (padding > length) {
      this.#taker.broken(codes.protocol);
      return at;
    }
    this.#taker.dataBegins(stream, length, padding);
    this.#inData = true;
    this.#dataLeft = length - padding;
    this.#paddingLeft = padded ? padding - 1 : 0;
    this.#last = (flag & flags.endStream) !== 0;
    return padded ? begin + 1 : begin;
  }
}
