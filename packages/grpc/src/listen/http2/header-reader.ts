import { type HeaderField, HeaderTable, sizeOf } from "./header-table.ts";
import { huffmanText } from "./huffman.ts";

/** The content of a block of headers. */
export interface HeaderBlock {
  readonly fields: readonly HeaderField[];
  /** There are more than the limits allow, of which `fields` has the first. */
  readonly tooLarge: boolean;
}

/** How much one block may say. */
export interface HeaderLimits {
  /** Bytes of all names and values, with 32 more for each field, as HTTP/2 counts. */
  readonly bytes: number;
  readonly fields: number;
}

/** Integers above this are no length or index that anything has. */
const largest = 2 ** 24;

/**
 * Reads the blocks of headers of one connection, all of them and in their order: each may change what the next one means
 * (RFC 7541; integers 5.1, strings 5.2, representations 6).
 */
export class HeaderReader {
  readonly #table = new HeaderTable();
  readonly #limits: HeaderLimits;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #broken = false;

  constructor(limits: HeaderLimits) {
    this.#limits = limits;
  }

  /** Counts what blocks have changed for those after them: while it stays the same, the same bytes say the same. */
  get changes(): number {
    return this.#table.changes;
  }

  /** The content of a block; undefined if it breaks the rules, after which no block can be decoded. */
  read(block: Uint8Array): HeaderBlock | undefined {
    this.#bytes = block;
    this.#at = 0;
    this.#broken = false;
    const fields: HeaderField[] = [];
    let size = 0;
    let tooLarge = false;
    while (this.#at < block.byteLength) {
      const first = block[this.#at] ?? 0;
      if (first >= 0x20 && first < 0x40) {
        // A new size of the table stands before all fields.
        if (fields.length > 0 || !this.#table.resize(this.#integer(0x1f))) return undefined;
        continue;
      }
      const field = first >= 0x80 ? this.#table.at(this.#integer(0x7f)) : this.#literal(first);
      if (!field || this.#broken) return undefined;
      size += sizeOf(field);
      tooLarge ||= size > this.#limits.bytes || fields.length >= this.#limits.fields;
      if (!tooLarge) fields.push(field);
    }
    return this.#broken ? undefined : { fields, tooLarge };
  }

  #literal(first: number): HeaderField | undefined {
    const added = first >= 0x40;
    const index = this.#integer(added ? 0x3f : 0x0f);
    const name = index === 0 ? this.#text() : this.#table.at(index)?.[0];
    if (name === undefined) return undefined;
    const field: HeaderField = [name, this.#text()];
    if (added && !this.#broken) this.#table.add(field);
    return field;
  }

  /** An integer that begins in the low bits of a byte. */
  #integer(mask: number): number {
    const first = (this.#bytes[this.#at++] ?? 0) & mask;
    if (first < mask) return first;
    let value = mask;
    for (let scale = 1; scale < largest; scale *= 128) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) break;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80 && value < largest) return value;
    }
    this.#broken = true;
    return 0;
  }

  #text(): string {
    const coded = (this.#bytes[this.#at] ?? 0) >= 0x80;
    const length = this.#integer(0x7f);
    const from = this.#at;
    const to = from + length;
    if (from > this.#bytes.byteLength || to > this.#bytes.byteLength || this.#broken) {
      this.#broken = true;
      return "";
    }
    this.#at = to;
    if (coded) {
      const text = huffmanText(this.#bytes, from, to);
      this.#broken ||= text === undefined;
      return text ?? "";
    }
    let text = "";
    for (let index = from; index < to; index++) text += String.fromCharCode(this.#bytes[index] ?? 0);
    return text;
  }
}
