import { LongshoreError } from "../../words/base/index.ts";

/**
 * Several answers in one body: frames, each led by three little-endian u32 (its kind, the bytes of JSON at its beginning,
 * its bytes in all). An answer is a reply as it would be alone. An error, and the end, are the last of their body, so that
 * a body that was cut off is none that ended.
 */
export type AnswerFrame =
  | { readonly kind: "answer"; readonly headerLength: number; readonly bytes: Uint8Array }
  /** The JSON of an error. */
  | { readonly kind: "error"; readonly bytes: Uint8Array };

const leadBytes = 12;
const kinds = { end: 0, answer: 1, error: 2 } as const;

/** A frame of some parts that are here, in one buffer. */
export function writeAnswerFrame(
  kind: keyof typeof kinds,
  parts: readonly Uint8Array[] = [],
  headerLength?: number,
): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const frame = new Uint8Array(leadBytes + length);
  const lead = new DataView(frame.buffer);
  lead.setUint32(0, kinds[kind], true);
  lead.setUint32(4, headerLength ?? length, true);
  lead.setUint32(8, length, true);
  let offset = leadBytes;
  for (const part of parts) {
    frame.set(part, offset);
    offset += part.byteLength;
  }
  return frame;
}

function senseless(message: string): LongshoreError {
  return new LongshoreError("body-mismatch", "decode", message);
}

/** A buffer in which the bytes after the JSON lie at a multiple of 8, since tensors are read in place. */
function aligned(headerLength: number, length: number): Uint8Array {
  const shift = (8 - (headerLength % 8)) % 8;
  return new Uint8Array(shift + length).subarray(shift);
}

/** Takes any number of bytes at a time out of chunks, however these are cut. */
function taker(body: AsyncIterable<Uint8Array>): {
  /** Fills the buffer; false when the body ended before its first byte. Throws when it ended in the middle. */
  fill(buffer: Uint8Array): Promise<boolean>;
  close(): Promise<unknown>;
} {
  const chunks = body[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array(0);
  return {
    async fill(buffer) {
      let filled = 0;
      while (filled < buffer.byteLength) {
        if (rest.byteLength === 0) {
          const next = await chunks.next();
          if (next.done !== true) rest = next.value;
          else if (filled > 0) throw senseless("the answers broke off within one");
          else return false;
        }
        const part = rest.subarray(0, buffer.byteLength - filled);
        buffer.set(part, filled);
        rest = rest.subarray(part.byteLength);
        filled += part.byteLength;
      }
      return true;
    },
    close: async () => chunks.return?.(),
  };
}

/**
 * The frames of a body as they come; each is read when the caller requests it. Ends with the end that the sender wrote, or
 * after an error. Throws `body-mismatch` for bytes that are no frame, for a frame of more than `maxBytes` (before it is
 * allocated), and for a body that ends otherwise; and the body's own error.
 */
export async function* readAnswerFrames(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncIterable<AnswerFrame> {
  const { fill, close } = taker(body);
  const head = new Uint8Array(leadBytes);
  const lead = new DataView(head.buffer);
  try {
    for (;;) {
      if (!(await fill(head))) throw senseless("the answers broke off before their end");
      const [kind, headerLength, length] = [0, 4, 8].map((at) => lead.getUint32(at, true));
      if (kind === undefined || headerLength === undefined || length === undefined || headerLength > length) {
        throw senseless("an answer has more JSON than bytes");
      }
      if (length > maxBytes) {
        throw senseless(`an answer of ${length} bytes came; at most ${maxBytes} are read`);
      }
      if (kind === kinds.end && length === 0) return;
      if (kind !== kinds.answer && kind !== kinds.error) {
        throw senseless(`a frame of kind ${kind} and ${length} bytes came among the answers`);
      }
      const bytes = aligned(headerLength, length);
      if (!(await fill(bytes))) throw senseless("the answers broke off within one");
      if (kind === kinds.error) {
        yield { kind: "error", bytes };
        return;
      }
      yield { kind: "answer", headerLength, bytes };
    }
  } finally {
    await close();
  }
}
