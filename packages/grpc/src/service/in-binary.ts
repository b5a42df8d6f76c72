import { LongshoreError } from "@longshore/core";
import { type IncomingMessage, readParts } from "@longshore/core/internal";
import { type BinaryHead, binaryHead, type Peeked, peek, RawContents } from "../message/index.ts";
import type { ArrivingFrame, Frame, ServiceParts } from "./call.ts";

/**
 * A unary request on its way to another endpoint over HTTP: its JSON is written from the beginning of the message, and what comes
 * after that is passed on without its framing, while it arrives (ADR 19).
 */

/** The most of a message that is waited for before it is put to the handler, where no more is needed to see what it is. */
const mostHeadBytes = 65_536;

/** The beginning of a message and what it tells; of one that is `arriving` as much of it as it takes to see where its tensors begin. */
export async function beginningOf(
  { limits }: ServiceParts,
  frame: Frame,
  arriving: ArrivingFrame | undefined,
): Promise<{ readonly head: Uint8Array; readonly peeked: Peeked }> {
  let { head } = frame;
  for (;;) {
    const peeked = peek(head, [1, 2], limits.maxNameLength);
    const { moreAt = Infinity } = peeked;
    const here = head.byteLength === frame.byteLength;
    if (!arriving || here || moreAt > mostHeadBytes) return { head, peeked };
    head = await arriving.more(moreAt);
  }
}

/** How a message is passed on. */
export interface Passing extends Pick<Frame, "byteLength">, Pick<ArrivingFrame, "chunks"> {
  readonly head: Uint8Array;
  /** The model and version that its path and its rights were made of. */
  readonly model: string;
  readonly version: string;
  /** Resolves when the message has ended without further bytes. */
  readonly last: () => Promise<void>;
  /** Receives the reason why the sender's part cannot be passed on. The receiver is not at fault. */
  readonly broke: (error: LongshoreError) => void;
}

type InBinary = NonNullable<ReturnType<NonNullable<IncomingMessage["binary"]>>>;

/** `IncomingMessage.binary` of a message. */
export function inBinary(
  { limits, release }: ServiceParts,
  passing: Passing,
): NonNullable<IncomingMessage["binary"]> {
  let made: { readonly form: InBinary | undefined } | undefined;
  return () => {
    if (made) return made.form;
    const head = binaryHead(passing.head, passing.byteLength, limits);
    // Names that follow those of the path are refused when the whole message is read.
    const same = head?.model === passing.model && head.version === passing.version;
    const form = same ? formOf(head, passing, release) : undefined;
    // In this form it may be longer than the message is, which keeps to the limit.
    made = { form: form && form.body.byteLength <= limits.maxBodyBytes ? form : undefined };
    return made.form;
  };
}

function formOf(head: BinaryHead, passing: Passing, free: (chunk: Uint8Array) => void): InBinary {
  const { json, inputs } = head;
  const byteLength = inputs.reduce((sum, { awaitedBytes }) => sum + awaitedBytes, json.byteLength);
  async function* read(): AsyncIterable<Uint8Array> {
    try {
      yield* passedOn(head, passing);
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "transport", "taking the message");
      passing.broke(error);
      throw error;
    }
  }
  return { headerLength: json.byteLength, body: { kind: "stream", byteLength, read, free } };
}

/**
 * The JSON and the raw contents. The last bytes are held back until the message has ended: a receiver of all of them begins to
 * run.
 */
async function* passedOn(head: BinaryHead, { chunks, byteLength, last }: Passing): AsyncIterable<Uint8Array> {
  const contents = new RawContents(head);
  let missing = byteLength;
  let left = head.inputs.reduce((sum, { awaitedBytes }) => sum + awaitedBytes, 0);
  let kept: Uint8Array | undefined = head.json;
  for await (const chunk of chunks()) {
    missing -= chunk.byteLength;
    for (const part of contents.take(chunk)) {
      left -= part.byteLength;
      kept = kept ? readParts({ kind: "parts", parts: [kept, part] }, { maxBytes: Infinity }) : part;
      // Framing of inputs without elements may still come.
      if (left === 0) break;
      yield kept;
      kept = undefined;
    }
  }
  // It was dropped.
  if (missing > 0) return;
  contents.end();
  await last();
  if (kept) yield kept;
}
