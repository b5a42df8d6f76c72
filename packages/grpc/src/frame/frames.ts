import { LongshoreError } from "@longshore/core";
import type { Frame } from "../service/index.ts";
import type { BufferedBytes } from "./held.ts";
import { keep } from "./keep.ts";
import type { Patience } from "./patience.ts";
import { checkEncoding, inflate } from "./inflate.ts";
import { pooled } from "./pooled.ts";
import { prefixBytes } from "./prefix.ts";

/**
 * Messages as they come off an HTTP/2 stream: a flag, four bytes of length, and the message. A message is buffered only when it
 * is read, apart from the bytes that the connection's window lets the client send ahead: path, metadata and the first bytes
 * decide whether the request is permitted.
 */

/** This much of a message is awaited before it is parsed: names and parameters come first. */
const headBytes = 1024;
/** Bytes that may wait for a reader before the stream is paused. */
const waitingBytes = 65_536;

/** Gives memory of exactly this many bytes. */
type Memory = (byteLength: number) => ArrayBuffer;

/** The first bytes of chunks, in memory of their own. */
function joined(chunks: readonly Uint8Array[], length: number): Uint8Array {
  const whole = Buffer.allocUnsafeSlow(length);
  let offset = 0;
  for (const chunk of chunks) {
    if (offset === length) break;
    const part = chunk.subarray(0, length - offset);
    whole.set(part, offset);
    offset += part.byteLength;
  }
  return whole;
}

/** The reading half of a stream. */
export interface ReadableHalf {
  pause(): void;
  resume(): void;
  readonly paused: boolean;
}

/** How messages are read. */
export interface FrameOptions {
  /** Bytes of one message, inflated. */
  readonly maxBytes: number;
  /** The value of `grpc-encoding`. */
  readonly encoding: string;
  /** Time for a message to arrive once it has begun. */
  readonly arrival: Patience;
  /** The call is a stream, in which a message may begin at any time; otherwise a message has a limited time. */
  readonly patient: boolean;
  readonly held: BufferedBytes;
  /** The error for a stream that the other side, or the connection, ended before it was complete. */
  readonly closed: () => LongshoreError;
}

/** The messages of one stream, which passes its events on to this source. */
export interface FrameSource extends Disposable {
  next(): Promise<Frame | undefined>;
  /** Some of the messages has come. */
  came(chunk: Uint8Array): void;
  /** The client has sent its last. */
  end(): void;
  /** The stream is no more. */
  gone(): void;
}

function readBefore(): Error {
  return new Error("the message was read or dropped before");
}

function cutShort(): LongshoreError {
  return new LongshoreError("body-mismatch", "transport", "the call ended in the middle of a message");
}

/** Messages up to this size share memory. */
const sharedBytes = 4000;

/** A buffer in which byte `alignAt` lies at a multiple of 8. */
function aligned(length: number, alignAt: number, memory: Memory | undefined): Uint8Array {
  if (!memory && length <= sharedBytes) return pooled(length, alignAt);
  const shift = (8 - (alignAt % 8)) % 8;
  const all = new Uint8Array(memory ? memory(shift + length) : new ArrayBuffer(shift + length));
  // The part that no byte of the message fills.
  all.fill(0, 0, shift);
  return shift === 0 ? all : all.subarray(shift);
}

/** Reads the messages of a stream. Dispose it when the call ends: it gives back its memory. */
export function frameSource(stream: ReadableHalf, options: FrameOptions): FrameSource {
  const { maxBytes, encoding, arrival, patient, held, closed } = options;
  const waiting: Uint8Array[] = [];
  let waitingLength = 0;
  let ended = false;
  let failed: LongshoreError | undefined;
  let wake = (): void => undefined;
  /** Somebody may still look at the beginning of it. */
  let looked: Uint8Array | undefined;
  /** A message that is being read goes straight to its buffer. */
  let target: Uint8Array | undefined;
  let filled = 0;
  /** Bytes of a message without a reader. */
  let dropping = 0;
  let heldHere = 0;
  let disposed = false;
  /** The message that was handed out last, until it was read or dropped. */
  let current: { skip(): void } | undefined;

  const take = (bytes: number): void => {
    // Nobody would give it back.
    if (disposed) throw closed();
    held.take(bytes);
    heldHere += bytes;
  };
  const giveBack = (bytes: number): void => {
    if (disposed) return;
    held.giveBack(bytes);
    heldHere -= bytes;
  };

  const route = (chunk: Uint8Array, lent: boolean): void => {
    let rest = chunk;
    if (dropping > 0) {
      const part = Math.min(dropping, rest.byteLength);
      dropping -= part;
      rest = rest.subarray(part);
    } else if (target && filled < target.byteLength) {
      const part = rest.subarray(0, target.byteLength - filled);
      target.set(part, filled);
      filled += part.byteLength;
      rest = rest.subarray(part.byteLength);
    }
    if (rest.byteLength === 0) return;
    keep(waiting, rest, lent);
    waitingLength += rest.byteLength;
    if (waitingLength > waitingBytes) stream.pause();
  };

  /** Gives the message that is arriving its time. */
  const arriving = (): Disposable =>
    arrival.wait(() => {
      failed ??= new LongshoreError("deadline-exceeded", "transport", "the message did not arrive in time");
      wake();
    });

  /** Waits until this much has come, or the call has ended. */
  const until = async (met: () => boolean, timed: boolean): Promise<void> => {
    if (met()) return;
    using _limit = timed ? arriving() : undefined;
    while (!met()) {
      if (failed) throw failed;
      if (disposed) throw closed();
      if (ended) return;
      if (stream.paused) {
        // Which may bring at once what is waited for.
        stream.resume();
        continue;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };

  /** The first `length` bytes of what waits, without taking them. */
  const look = (length: number): Uint8Array => {
    const [first] = waiting;
    if (!first || first.byteLength < length) return joined(waiting, length);
    looked = first;
    return first.subarray(0, length);
  };

  /** Moves what waits to where it now belongs. */
  const replay = (): void => {
    const chunks = waiting.splice(0);
    waitingLength = 0;
    for (const chunk of chunks) route(chunk, false);
    if (waitingLength <= waitingBytes && stream.paused) stream.resume();
  };

  /** The first of the chunks that wait, where it can be given away as it is. */
  const taken = (most: number): Uint8Array | undefined => {
    const [first] = waiting;
    if (!first || first === looked || first.byteLength > most) return undefined;
    return first.byteLength === first.buffer.byteLength ? first : undefined;
  };

  const drop = (length: number): void => {
    dropping = length;
    replay();
  };

  /** All of a message that has begun, within the time for it. */
  const receive = async (length: number, alignAt: number, memory?: Memory): Promise<Uint8Array> => {
    const whole = aligned(length, alignAt, memory);
    target = whole;
    filled = 0;
    replay();
    await until(() => filled === length, true);
    target = undefined;
    if (filled < length) throw cutShort();
    return whole;
  };

  const prefixed = async (): Promise<
    { readonly compressed: boolean; readonly length: number } | undefined
  > => {
    await until(() => waitingLength > 0, !patient);
    if (waitingLength === 0) return undefined;
    await until(() => waitingLength >= prefixBytes, true);
    if (waitingLength < prefixBytes) throw cutShort();
    const prefix = look(prefixBytes);
    const flag = prefix[0] ?? 0;
    if (flag > 1) {
      throw new LongshoreError("invalid-input", "transport", "a message begins with a flag of 0 or 1");
    }
    if (flag === 1 && encoding === "identity") {
      throw new LongshoreError(
        "invalid-input",
        "transport",
        "a message is marked as compressed, but grpc-encoding does not say how",
      );
    }
    const length = new DataView(prefix.buffer, prefix.byteOffset, prefixBytes).getUint32(1);
    if (length > maxBytes) {
      throw new LongshoreError(
        "body-too-large",
        "transport",
        `the message has ${length} bytes; at most ${maxBytes} are allowed`,
      );
    }
    drop(prefixBytes);
    return { compressed: flag === 1, length };
  };

  const plainFrame = async (length: number): Promise<Frame> => {
    const wanted = Math.min(length, headBytes);
    await until(() => waitingLength >= wanted, true);
    if (waitingLength < wanted) throw cutShort();
    let over = false;
    const finish = (): boolean => {
      const first = !over;
      over = true;
      current = undefined;
      return first;
    };
    /** The rest of a message that is taken in chunks. */
    let left = 0;
    const leave = (): void => {
      if (left > 0) drop(left);
      left = 0;
      wake();
    };
    const frame: Frame = {
      byteLength: length,
      head: look(Math.min(length, waitingLength)),
      read: async (alignAt = 0, memory) => {
        if (!finish()) throw readBefore();
        // From here on the handler's own budget counts it; it has granted the memory already.
        take(length);
        try {
          return await receive(length, alignAt, memory);
        } finally {
          giveBack(length);
        }
      },
      arriving: {
        more: async (bytes) => {
          const most = Math.min(length, bytes);
          await until(() => waitingLength >= most, true);
          if (waitingLength < most) throw cutShort();
          return look(Math.min(length, waitingLength));
        },
        async *chunks() {
          if (!finish()) throw readBefore();
          current = frame;
          left = length;
          using _limit = arriving();
          try {
            while (left > 0) {
              await until(() => waitingLength > 0 || left === 0, false);
              if (left === 0) return;
              const chunk = taken(left) ?? joined(waiting, Math.min(left, waitingLength));
              if (chunk.byteLength === 0) throw cutShort();
              left -= chunk.byteLength;
              if (chunk !== waiting[0]) drop(chunk.byteLength);
              else {
                waiting.shift();
                waitingLength -= chunk.byteLength;
                if (waitingLength <= waitingBytes && stream.paused) stream.resume();
              }
              yield chunk;
            }
          } finally {
            leave();
          }
        },
      },
      skip: () => {
        if (finish()) drop(length);
        else leave();
      },
    };
    current = frame;
    return frame;
  };

  const compressedFrame = async (length: number): Promise<Frame> => {
    take(length);
    const packed = await receive(length, 0);
    const whole = await inflate(packed, encoding, maxBytes, take);
    giveBack(length);
    let holding = true;
    const release = (): void => {
      if (holding) giveBack(whole.byteLength);
      holding = false;
      current = undefined;
    };
    const frame: Frame = {
      byteLength: whole.byteLength,
      head: whole,
      read: async () => {
        release();
        return whole;
      },
      skip: release,
    };
    current = frame;
    return frame;
  };

  checkEncoding(encoding);
  return {
    async next() {
      current?.skip();
      const begun = await prefixed();
      if (!begun) return undefined;
      return begun.compressed ? compressedFrame(begun.length) : plainFrame(begun.length);
    },
    came(chunk) {
      route(chunk, true);
      wake();
    },
    end() {
      ended = true;
      wake();
    },
    gone() {
      if (!ended) failed ??= closed();
      wake();
    },
    [Symbol.dispose]() {
      giveBack(heldHere);
      // A reader that still waits for a message gets its error now, and not at its deadline. Mostly there is none, and errors
      // are expensive.
      disposed = true;
      wake();
    },
  };
}
