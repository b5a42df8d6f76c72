const encoder = new TextEncoder();

/** Longer text goes through the encoder, which makes an array first. */
const shortText = 0x7f;

/** Writes protobuf's wire format into a buffer that grows. For what is small: tensors travel beside it, uncopied. */
export class Writer {
  #bytes: Uint8Array;
  at = 0;

  constructor(size = 256) {
    this.#bytes = new Uint8Array(size);
  }

  /** The bytes between two positions, as a view that a further write may invalidate: take it last. */
  slice(from: number, to: number): Uint8Array {
    return this.#bytes.subarray(from, to);
  }

  #room(bytes: number): void {
    if (this.at + bytes <= this.#bytes.byteLength) return;
    const grown = new Uint8Array(Math.max(this.#bytes.byteLength * 2, this.at + bytes));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }

  /** A whole number of 0 or more, exact up to 2^53. */
  varint(value: number): void {
    this.#room(10);
    let rest = value;
    while (rest >= 0x80) {
      this.#bytes[this.at++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.at++] = rest;
  }

  /** A whole number of either sign, as protobuf's int64, or of 64 bits without one, as its uint64. */
  signed(value: number | bigint): void {
    if (typeof value === "number" && value >= 0) {
      this.varint(value);
      return;
    }
    this.#room(10);
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest >= 0x80n) {
      this.#bytes[this.at++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#bytes[this.at++] = Number(rest);
  }

  tag(number: number, wireType: number): void {
    this.varint(number * 8 + wireType);
  }

  double(value: number): void {
    this.#room(8);
    new DataView(this.#bytes.buffer).setFloat64(this.at, value, true);
    this.at += 8;
  }

  bytes(bytes: Uint8Array): void {
    this.#room(bytes.byteLength);
    this.#bytes.set(bytes, this.at);
    this.at += bytes.byteLength;
  }

  /** Writes length and bytes of short ASCII text. @returns false, with nothing written, for other text */
  #ascii(text: string): boolean {
    const { length } = text;
    if (length > shortText) return false;
    this.#room(1 + length);
    const bytes = this.#bytes;
    const start = this.at + 1;
    for (let index = 0; index < length; index++) {
      const code = text.charCodeAt(index);
      if (code > 0x7f) return false;
      bytes[start + index] = code;
    }
    bytes[this.at] = length;
    this.at = start + length;
    return true;
  }

  /** A field of text; absent when empty, as protobuf has it. */
  text(number: number, text: string): void {
    if (text === "") return;
    this.tag(number, 2);
    if (this.#ascii(text)) return;
    const bytes = encoder.encode(text);
    this.varint(bytes.byteLength);
    this.bytes(bytes);
  }

  /** A field that holds what `write` writes. */
  nested(number: number, write: () => void): void {
    this.tag(number, 2);
    const start = this.at;
    this.#room(1);
    this.at += 1;
    write();
    const length = this.at - start - 1;
    if (length < 0x80) {
      this.#bytes[start] = length;
      return;
    }
    // The length takes more than the byte reserved for it: the bytes after it move up.
    const width = length < 0x4000 ? 2 : length < 0x20_0000 ? 3 : 5;
    this.#room(width);
    this.#bytes.copyWithin(start + width, start + 1, this.at);
    let rest = length;
    for (let index = 0; index < width; index++) {
      this.#bytes[start + index] = (rest & 0x7f) | (index < width - 1 ? 0x80 : 0);
      rest >>>= 7;
    }
    this.at += width - 1;
  }
}
