import { LongshoreError } from "../../words/base/index.ts";
import type { WireLimits } from "./limits.ts";
import { binaryType, headerLengthHeader, jsonType } from "./names.ts";
import { messageWork } from "../../words/json/index.ts";
import { objectAt } from "./read-json.ts";
import { tensorEntry, type WireTensor } from "./wire-tensor.ts";

/** A message ready to send: headers that describe the body, and its parts, which are sent one after another. */
export interface Message {
  readonly headers: Readonly<Record<string, string>>;
  readonly parts: readonly Uint8Array[];
}

const encoder = new TextEncoder();

/** Binary tensors begin at a multiple of this, so that receivers can read them in place. */
const alignment = 8;

/** The content of a message, before it is laid out. */
export interface MessageContent {
  /** JSON fields besides the tensors, as text without braces. */
  readonly fields: readonly string[];
  readonly list: "inputs" | "outputs";
  readonly tensors: readonly WireTensor[];
  /** Tells whether a tensor goes into the binary part. */
  readonly binary: (tensor: WireTensor) => boolean;
}

function* jsonPieces({ fields, list, tensors, binary }: MessageContent): Generator<string> {
  yield `{${[...fields, `"${list}":[`].join(",")}`;
  for (const [index, tensor] of tensors.entries()) {
    if (index > 0) yield ",";
    yield* tensorEntry(tensor, !tensor.shared && binary(tensor), list === "inputs");
  }
  yield "]}";
}

function laidOut({ tensors, binary }: MessageContent, json: readonly Uint8Array[]): Message {
  const apart = tensors.filter((tensor) => !tensor.shared && binary(tensor));
  if (apart.length === 0) return { headers: { "content-type": jsonType }, parts: json };
  const length = json.reduce((total, piece) => total + piece.byteLength, 0);
  const padding = (alignment - (length % alignment)) % alignment;
  const [first = new Uint8Array(0), ...more] = json;
  const parts = more.length > 0 ? [first, ...more] : [padded(first, padding)];
  if (more.length > 0 && padding > 0) parts.push(padded(new Uint8Array(0), padding));
  for (const { bytes } of apart) if (bytes.byteLength > 0) parts.push(bytes);
  const headers: Record<string, string> = { "content-type": binaryType };
  headers[headerLengthHeader] = String(length + padding);
  return { headers, parts };
}

function padded(bytes: Uint8Array, padding: number): Uint8Array {
  const whole = new Uint8Array(bytes.byteLength + padding);
  whole.set(bytes);
  whole.fill(0x20, bytes.byteLength);
  return whole;
}

/**
 * Lays out a message: JSON, then the binary tensors. The JSON is padded with blanks (which JSON allows) to a multiple of
 * 8 bytes. Tensor bytes are not copied.
 */
export function layOut(content: MessageContent): Message {
  return laidOut(content, [encoder.encode([...jsonPieces(content)].join(""))]);
}

/** Characters of JSON that are written before other work gets its turn: about two milliseconds. */
const charactersAtOnce = 131_072;

/** The same as `layOut`, with a `pause` after each two milliseconds or so of writing JSON tensors. */
export function layOutInSteps(
  content: MessageContent,
  pause: () => Promise<void>,
): Message | Promise<Message> {
  const { tensors, binary } = content;
  const short = tensors.every((tensor) => tensor.shared !== undefined || binary(tensor));
  return short ? layOut(content) : longLayOut(content, pause);
}

async function longLayOut(content: MessageContent, pause: () => Promise<void>): Promise<Message> {
  return laidOut(content, await encodedInSteps(jsonPieces(content), pause));
}

/** Pieces of text as UTF-8, with a `pause` after each two milliseconds or so of making them. */
export async function encodedInSteps(
  pieces: Iterable<string>,
  pause: () => Promise<void>,
): Promise<readonly Uint8Array[]> {
  const encoded: Uint8Array[] = [];
  let text = "";
  for (const piece of pieces) {
    text += piece;
    if (text.length < charactersAtOnce) continue;
    encoded.push(encoder.encode(text));
    text = "";
    await pause();
  }
  encoded.push(encoder.encode(text));
  return encoded;
}

/** The JSON length that a header states; undefined when there is none. Throws `body-mismatch` when it is no length. */
export function headerLengthOf(headers: Readonly<Record<string, string>>): number | undefined {
  const value = headers[headerLengthHeader];
  if (value === undefined) return undefined;
  if (!/^[0-9]{1,15}$/.test(value)) {
    throw new LongshoreError("body-mismatch", "decode", `${headerLengthHeader} must be a number of bytes`);
  }
  return Number(value);
}

function checkJsonLength(length: number, limits: WireLimits): void {
  if (length <= limits.maxJsonBytes) return;
  throw new LongshoreError(
    "body-too-large",
    "decode",
    `the JSON part has ${length} bytes; at most ${limits.maxJsonBytes} are allowed (send tensors as binary data)`,
  );
}

/** The work of reading the JSON object of a message of which only that is here. */
export function* takeHead(head: Uint8Array, limits: WireLimits): Generator<void, object> {
  checkJsonLength(head.byteLength, limits);
  return objectAt(yield* messageWork(head), "the message");
}

/** The work of splitting a body into its JSON object and its binary part. */
export function* takeApart(
  body: Uint8Array,
  headerLength: number | undefined,
  limits: WireLimits,
): Generator<void, { readonly json: object; readonly binary: Uint8Array }> {
  const length = headerLength ?? body.byteLength;
  if (length > body.byteLength) {
    throw new LongshoreError(
      "body-mismatch",
      "decode",
      `${headerLengthHeader} is ${length}, but the body has ${body.byteLength} bytes`,
    );
  }
  return { json: yield* takeHead(body.subarray(0, length), limits), binary: body.subarray(length) };
}
