import { wireTypes } from "./cursor.ts";

/** The fields at the beginning of a message. */
export interface Peeked {
  /** Texts by field number, of the wanted ones that have come. */
  readonly texts: ReadonlyMap<number, string>;
  /** Where the first `raw_input_contents` begins in the message; undefined when it has not come yet. */
  readonly rawAt?: number;
  /** How many bytes of the message would tell more, where nothing but those that are missing is in the way. */
  readonly moreAt?: number;
}

/** Field of `raw_input_contents` in `ModelInferRequest`. */
export const rawField = 7;
/** The most that the tag and the length of a field take here. */
const mostTagBytes = 10;

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

function textOf(bytes: Uint8Array): string {
  return utf8.decode(bytes);
}

/**
 * Looks into the beginning of a message that may still be arriving: protobuf's encoders write fields in the order of their
 * numbers, so the names come first. Later fields are not searched.
 *
 * @param head The first bytes of the message.
 * @param wanted Numbers of text fields.
 * @param mostText Bytes of one text.
 */
export function peek(head: Uint8Array, wanted: readonly number[], mostText: number): Peeked {
  const texts = new Map<number, string>();
  let at = 0;
  /** The next varint, or -1 when it has not come whole or is no length that anything has. */
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 28; scale *= 128) {
      const byte = head[at++];
      if (byte === undefined) return -1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    return -1;
  };
  for (;;) {
    const from = at;
    const tag = varint();
    // Before the tensors all fields are length-delimited. A field of another type, or a broken one, shows when the whole is
    // read.
    if (tag >= 0 && tag % 8 !== wireTypes.length) return { texts };
    const length = tag < 0 ? -1 : varint();
    if (length < 0) return at > head.byteLength ? { texts, moreAt: from + mostTagBytes } : { texts };
    const number = Math.floor(tag / 8);
    if (number === rawField) return { texts, rawAt: at };
    if (at + length > head.byteLength) return { texts, moreAt: at + length + mostTagBytes };
    if (wanted.includes(number)) {
      if (length > mostText) return { texts };
      texts.set(number, textOf(head.subarray(at, at + length)));
    }
    at += length;
  }
}
