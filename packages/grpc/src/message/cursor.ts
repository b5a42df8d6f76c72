import { LongshoreError } from "@longshore/core";

/** How a field of a protobuf message lies on the wire. */
export const wireTypes = { varint: 0, eightBytes: 1, length: 2, fourBytes: 5 } as const;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Names are mostly this short and ASCII: building them beats a call of the decoder. */
const shortText = 48;

function broken(why: string): LongshoreError {
  return new LongshoreError("invalid-input", "decode", `the message is not valid protobuf: ${why}`);
}

/**
 * Reads protobuf's wire format from a part of a buffer. Every length is checked against what is there before anything of
 * that size is looked at, and nothing is copied. Throws `invalid-input` whatever the bytes are.
 */
export class Cursor {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;
  /** The number and the wire type of the field that `field()` found. */
  number = 0;
  wireType = 0;
  /** The low and the high 32 bits of the last varint. */
  low = 0;
  high = 0;

  constructor(bytes: Uint8Array, at = 0, end: number = bytes.byteLength) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Moves to the next field; false at the end. */
  field(): boolean {
    if (this.at >= this.end) return false;
    this.varint();
    if (this.high !== 0) throw broken("a field number is too large");
    this.number = this.low >>> 3;
    this.wireType = this.low & 7;
    if (this.number === 0) throw broken("there is no field 0");
    return true;
  }

  /** Reads a varint of up to 64 bits into `low` and `high`. */
  varint(): void {
    const { bytes, end } = this;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.at >= end) throw broken("a number ends too early");
      const byte = bytes[this.at++] ?? 0;
      const seven = byte & 0x7f;
      if (shift < 28) low |= seven << shift;
      else if (shift === 28) {
        low |= seven << 28;
        high = seven >>> 4;
      } else if (shift < 63) high |= seven << (shift - 32);
      // Of the tenth byte only one bit is left; encoders of negative numbers write just that.
      else high |= (seven & 1) << 31;
      if (byte < 0x80) {
        this.low = low >>> 0;
        this.high = high >>> 0;
        return;
      }
    }
    throw broken("a number has more than ten bytes");
  }

  /** The last varint as an unsigned number; rounded beyond 2^53. */
  get unsigned(): number {
    return this.high * 4_294_967_296 + this.low;
  }

  /** The last varint as a signed 64-bit number; rounded beyond 2^53. */
  get signed(): number {
    return (this.high | 0) * 4_294_967_296 + this.low;
  }

  /** Checks that the field is of a kind. */
  expect(wireType: number): void {
    if (this.wireType !== wireType) {
      throw broken(`field ${this.number} has wire type ${this.wireType} instead of ${wireType}`);
    }
  }

  /** Reads the length of a field and checks that this many bytes are there. */
  length(): number {
    this.expect(wireTypes.length);
    this.varint();
    const length = this.unsigned;
    if (length > this.end - this.at) {
      throw broken(`field ${this.number} claims ${length} bytes, but ${this.end - this.at} are left`);
    }
    return length;
  }

  /** The bytes of a field, as a view. */
  view(): Uint8Array {
    const length = this.length();
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** A cursor on the message inside a field. */
  inner(): Cursor {
    const length = this.length();
    this.at += length;
    return new Cursor(this.bytes, this.at - length, this.at);
  }

  /** The text of a field, at most `most` bytes of it. */
  text(most: number, what: string): string {
    const length = this.length();
    if (length > most) {
      throw new LongshoreError("invalid-input", "decode", `${what} must be text of at most ${most} bytes`);
    }
    const start = this.at;
    this.at += length;
    if (length <= shortText) {
      let text = "";
      let at = start;
      for (; at < this.at; at++) {
        const byte = this.bytes[at] ?? 0;
        if (byte >= 0x80) break;
        text += String.fromCharCode(byte);
      }
      if (at === this.at) return text;
    }
    try {
      return utf8.decode(this.bytes.subarray(start, this.at));
    } catch {
      throw broken(`${what} is not UTF-8`);
    }
  }

  /** Skips four or eight bytes and tells where they begin. */
  fixed(width: 4 | 8): number {
    this.expect(width === 4 ? wireTypes.fourBytes : wireTypes.eightBytes);
    if (this.end - this.at < width) throw broken(`field ${this.number} ends too early`);
    this.at += width;
    return this.at - width;
  }

  /** Skips an unknown field. Groups, which protobuf gave up, are refused. */
  skip(): void {
    if (this.wireType === wireTypes.varint) this.varint();
    else if (this.wireType === wireTypes.length) this.view();
    else if (this.wireType === wireTypes.fourBytes) this.fixed(4);
    else if (this.wireType === wireTypes.eightBytes) this.fixed(8);
    else throw broken(`field ${this.number} has the unknown wire type ${this.wireType}`);
  }
}
