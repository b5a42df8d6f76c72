import { Deserializer, Serializer } from "node:v8";
import type { FromRunner, ToRunner } from "./runner-message.ts";

/*
 * Messages between this program and a process. Node.js copies, writes and reads each message as a whole, which takes about a millisecond of
 * the thread for a megabyte. A model of 400 MB would block all other work for that time. So a message with more memory than one piece is
 * sent as a list: the sizes of its memory, the rest of it, then that memory piece by piece, each in its own turn of the event loop. The
 * other side may run an untrusted model, so announced sizes are checked against a limit before memory is allocated. The process imports
 * this file, and little else: its memory is capped.
 */

type Message = ToRunner | FromRunner;

const pieceBytes = 1024 * 1024;

/** Sent before the pieces. */
interface Announcement {
  readonly kind: "pieces";
  /** Size of each buffer, in order. */
  readonly sizes: readonly number[];
  /** The message without its buffers. */
  readonly rest: Uint8Array;
}

/** The buffers of a message, each once. */
export function buffersOf(message: Message): readonly ArrayBuffer[] {
  const found = new Set<ArrayBufferLike | undefined>();
  if (message.kind === "load") found.add(message.bytes.buffer);
  if (message.kind === "run") {
    found.add(message.buffer);
    for (const { buffer } of message.feeds) found.add(buffer);
  }
  if (message.kind === "outputs") {
    for (const { data } of message.outputs) if (ArrayBuffer.isView(data)) found.add(data.buffer);
  }
  return [...found].filter((buffer) => buffer instanceof ArrayBuffer);
}

/**
 * Sends a message. Its memory must not change meanwhile.
 *
 * @param send Sends one part and reports when it was written, or that it cannot be: then nothing follows.
 */
export async function sendInPieces(
  message: Message,
  send: (part: unknown, written: (failed: Error | null) => void) => void,
): Promise<void> {
  const buffers = buffersOf(message).filter(({ byteLength }) => byteLength > 0);
  if (buffers.reduce((sum, { byteLength }) => sum + byteLength, 0) <= pieceBytes) {
    send(message, () => undefined);
    return;
  }
  const serializer = new Serializer();
  serializer.writeHeader();
  for (const [index, buffer] of buffers.entries()) serializer.transferArrayBuffer(index, buffer);
  serializer.writeValue(message);
  const parts = (function* (): Generator<Announcement | Uint8Array> {
    yield {
      kind: "pieces",
      sizes: buffers.map(({ byteLength }) => byteLength),
      rest: serializer.releaseBuffer(),
    };
    for (const buffer of buffers) {
      for (let at = 0; at < buffer.byteLength; at += pieceBytes) {
        yield new Uint8Array(buffer, at, Math.min(pieceBytes, buffer.byteLength - at));
      }
    }
  })();
  for (const part of parts) {
    const failed = await new Promise<Error | null>((resolve) => send(part, resolve));
    if (failed) return;
    // Immediate writes are reported within the same turn.
    await new Promise<void>((resolve) => void setImmediate(resolve));
  }
}

const wrong = (): Error =>
  new Error("these are no pieces, or others than were announced, or more than may come");

/** A message whose pieces are arriving. */
class Arriving {
  readonly #buffers: readonly ArrayBuffer[];
  readonly #rest: Uint8Array;
  #buffer = 0;
  #at = 0;

  constructor({ sizes, rest }: Announcement) {
    this.#buffers = sizes.map((size) => new ArrayBuffer(size));
    this.#rest = rest;
  }

  /** Takes the next piece. Returns whether it was the last. */
  take(piece: unknown): boolean {
    const buffer = this.#buffers[this.#buffer];
    if (!buffer || !(piece instanceof Uint8Array) || piece.byteLength === 0) throw wrong();
    if (piece.byteLength > buffer.byteLength - this.#at) throw wrong();
    new Uint8Array(buffer).set(piece, this.#at);
    this.#at += piece.byteLength;
    if (this.#at < buffer.byteLength) return false;
    this.#buffer += 1;
    this.#at = 0;
    return this.#buffer === this.#buffers.length;
  }

  message(): unknown {
    const deserializer = new Deserializer(this.#rest);
    deserializer.readHeader();
    for (const [index, buffer] of this.#buffers.entries()) deserializer.transferArrayBuffer(index, buffer);
    return deserializer.readValue() as unknown;
  }
}

function announcementOf(part: unknown, mostBytes: number): Announcement | undefined {
  if (typeof part !== "object" || part === null || !("kind" in part) || part.kind !== "pieces")
    return undefined;
  const { sizes, rest } = part as Partial<Record<keyof Announcement, unknown>>;
  if (!Array.isArray(sizes) || !(rest instanceof Uint8Array)) throw wrong();
  let sum = 0;
  for (const size of sizes as readonly unknown[]) {
    if (typeof size !== "number" || !Number.isSafeInteger(size) || size <= 0) throw wrong();
    sum += size;
  }
  if (sum === 0 || sum > mostBytes) throw wrong();
  return { kind: "pieces", sizes: sizes as readonly number[], rest };
}

/** Returns the function that takes parts as they arrive. It throws for pieces of more than `mostBytes` in all, and for malformed ones. */
export function joinPieces(mostBytes: number, received: (message: unknown) => void): (part: unknown) => void {
  let arriving: Arriving | undefined;
  return (part) => {
    if (!arriving) {
      const announced = announcementOf(part, mostBytes);
      if (announced) arriving = new Arriving(announced);
      else received(part);
      return;
    }
    if (!arriving.take(part)) return;
    const whole = arriving;
    arriving = undefined;
    received(whole.message());
  };
}
