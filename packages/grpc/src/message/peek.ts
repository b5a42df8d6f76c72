import { LongshoreError } from "@longshore/core";
import { Cursor, wireTypes } from "./cursor.ts";

/** What the beginning of a message tells of it. */
export interface Peeked {
  /** Texts by field number, of those that were asked for and have come. */
  readonly texts: ReadonlyMap<number, string>;
  /** Where the first `raw_input_contents` begins in the message; undefined when it has not come yet. */
  readonly rawAt?: number;
}

/** Field of `raw_input_contents` in `ModelInferRequest`. */
const rawField = 7;

/**
 * Looks into the beginning of a message that may still be arriving: protobuf's encoders write fields in the order of
 * their numbers, so the names come first. What comes later is not looked for.
 *
 * @param head The first bytes of the message.
 * @param wanted Numbers of text fields.
 * @param mostText Bytes of one text.
 */
export function peek(head: Uint8Array, wanted: readonly number[], mostText: number): Peeked {
  const texts = new Map<number, string>();
  const cursor = new Cursor(head);
  try {
    while (cursor.field()) {
      if (wanted.includes(cursor.number) && cursor.wireType === wireTypes.length) {
        texts.set(cursor.number, cursor.text(mostText, `field ${cursor.number}`));
      } else if (cursor.number === rawField && cursor.wireType === wireTypes.length) {
        cursor.varint();
        return { texts, rawAt: cursor.at };
      } else {
        cursor.skip();
      }
    }
  } catch (thrown) {
    // The head ends inside a field, or the message is broken, which reading the whole of it will say.
    if (!LongshoreError.is(thrown)) throw thrown;
  }
  return { texts };
}
