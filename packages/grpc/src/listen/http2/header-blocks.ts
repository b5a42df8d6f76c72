import { codes, flags } from "./frame-words.ts";

/** The cost that an empty frame of headers counts for. */
const leastPiece = 256;

/** A block of headers that is complete. */
export interface Block {
  readonly stream: number;
  /** The client sends nothing more on the stream. */
  readonly last: boolean;
  /** Lent until the next frame. */
  readonly bytes: Uint8Array;
}

/** Puts blocks of headers together that come in several frames, of which nothing may come in between. */
export class HeaderBlocks {
  readonly #mostBytes: number;
  #stream = 0;
  #last = false;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  /** How many blocks of several frames have begun: tells one from another. */
  begun = 0;

  /** @param mostBytes Of a block as it comes. */
  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  /** A block has begun and not ended. */
  get open(): boolean {
    return this.#parts.length > 0;
  }

  /** Takes a frame of headers; undefined where more has to come, and one of HTTP/2's codes where it breaks the rules. */
  begin(flag: number, stream: number, payload: Uint8Array): Block | number | undefined {
    const padded = (flag & flags.padded) !== 0;
    const from = (padded ? 1 : 0) + ((flag & flags.priority) === 0 ? 0 : 5);
    const to = payload.byteLength - (padded ? (payload[0] ?? 0) : 0);
    if (stream % 2 === 0 || from > to) return codes.protocol;
    const bytes = payload.subarray(from, to);
    const last = (flag & flags.endStream) !== 0;
    if ((flag & flags.endHeaders) !== 0) return { stream, last, bytes };
    this.begun += 1;
    this.#stream = stream;
    this.#last = last;
    this.#parts = [bytes.slice()];
    this.#bytes = bytes.byteLength;
    return undefined;
  }

  /** Takes a frame that goes on with a block, like `begin`. */
  goOn(flag: number, stream: number, payload: Uint8Array): Block | number | undefined {
    if (!this.open || this.#stream !== stream) return codes.protocol;
    this.#parts.push(payload.slice());
    this.#bytes += Math.max(payload.byteLength, leastPiece);
    if (this.#bytes > this.#mostBytes) return codes.enhanceYourCalm;
    if ((flag & flags.endHeaders) === 0) return undefined;
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [];
    return { stream, last: this.#last, bytes };
  }
}
