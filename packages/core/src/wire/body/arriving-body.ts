import { LongshoreError } from "../../words/base/index.ts";
import type { StreamBody } from "./body.ts";

/** Bytes that may wait between a connection and the reader of a body before the connection is to pause. */
export const waitingBytes = 262_144;
/**
 * The memory for all of a longer body is taken when this much has arrived: announcing megabytes costs a sender nothing. A first read
 * has a head before the body, so this is less than a read's 64 KiB: the second one then goes to its place.
 */
const firstBytes = 32_768;
/** Chunks of at most this size are copied together while they wait: a separate chunk takes hundreds of bytes more. */
const dropBytes = 512;
/** Size of a buffer for such chunks. */
const gatheredBytes = 4096;

/** That a body did not come as it was announced. */
export function brokenBody(message: string, cause?: unknown): LongshoreError {
  return new LongshoreError("body-mismatch", "transport", message, cause === undefined ? {} : { cause });
}
/** One error for all: most bodies that are refused have no reader, and making an error costs a tenth of refusing. */
const dropped = brokenBody("the reply came before the whole body");

/** The interface between a connection and a body that arrives on it. */
export interface ArrivingBodyParts {
  /** Undefined: until `end` is called. */
  readonly byteLength: number | undefined;
  /** Frees memory of chunks that were copied, or that will not be read. Default: it is left to the collector. */
  readonly release?: (memory: Uint8Array) => void;
  /** No more should come for now, or again some. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** The reader stopped before the end, or could not take a chunk. */
  readonly leave?: () => void;
}

/** Bytes that came and were not read yet. */
interface Chunk {
  bytes: Uint8Array;
  /** The memory that they lie in, if nothing else in it is needed. */
  readonly memory: Uint8Array;
  /** They are small pieces, at the beginning of a memory that can take more. */
  readonly gathers?: true;
}

/** Memory that a body is written into as it comes; `told` is the count that `arrived` got last. */
interface Filling {
  readonly memory: Uint8Array;
  readonly arrived: ((bytes: number) => void) | undefined;
  readonly reportedBytes: number;
  filled: number;
}

/** A body whose chunks a connection hands in as they come, each before the next. It has one reader. */
export class ArrivingBody {
  readonly body: StreamBody;
  readonly #parts: ArrivingBodyParts;
  readonly #waiting: Chunk[] = [];
  #waitingBytes = 0;
  #left: number;
  #failed: LongshoreError | undefined;
  #take: ((chunk: Uint8Array) => void) | undefined;
  #wake: (() => void) | undefined;
  #filling: Filling | undefined;

  constructor(parts: ArrivingBodyParts) {
    const { byteLength, release } = parts;
    this.#parts = parts;
    this.#left = byteLength ?? Infinity;
    this.body = {
      kind: "stream",
      byteLength,
      read: () => this.#read(),
      ...(release ? { free: release } : {}),
      each: (take) => this.#each(take),
      ...(byteLength === undefined ? {} : { into: (take, arrived) => this.#fill(take, arrived) }),
    };
  }

  /** Bytes that have yet to come; infinite if their number is unknown. */
  get left(): number {
    return this.#left;
  }

  /**
   * Takes the next bytes, which end in this body. `memory` is freed with them: they may lie after a head that was read.
   */
  came(bytes: Uint8Array, memory: Uint8Array = bytes): void {
    this.#left -= bytes.byteLength;
    if (this.#take) this.#hand({ bytes, memory }, this.#take);
    else if (this.#failed) this.#parts.release?.(memory);
    else {
      this.#waitingBytes += bytes.byteLength;
      this.#keep(bytes, memory);
      if (this.#waitingBytes > waitingBytes && this.#left > 0) this.#parts.pause();
    }
    if (!this.#take || this.#left === 0 || this.#failed) this.#wake?.();
  }

  /** Where the next bytes belong, for a connection that can read them to there: then `filled` tells of them instead of `came`. */
  get room(): Uint8Array | undefined {
    const filling = this.#filling;
    return filling && this.#left > 0 ? filling.memory.subarray(filling.filled) : undefined;
  }

  /** This many bytes lie at their final position; they are only counted if no reader wants them by now. */
  filled(bytes: number): void {
    this.#left -= bytes;
    const filling = this.#filling;
    if (filling) this.#orFail(() => advance(filling, bytes));
    if (this.#left === 0 || this.#failed) this.#wake?.();
  }

  /** Of a body of unknown length: that was all of it. */
  end(): void {
    this.#left = 0;
    this.#wake?.();
  }

  /** Nobody reads it any more: chunks are dropped from now on. */
  drop(): void {
    this.#failed ??= dropped;
    this.#take = undefined;
    this.#filling = undefined;
    for (const { memory } of this.#waiting.splice(0)) this.#parts.release?.(memory);
  }

  /** No more will come, because of `why`; default: the connection is gone. Nothing changes when all of it is here. */
  gone(why?: LongshoreError): void {
    if (this.#left === 0) return;
    this.#failed ??= why ?? brokenBody("the connection closed before the whole body had come");
    this.#wake?.();
  }

  #keep(bytes: Uint8Array, memory: Uint8Array): void {
    let last = this.#waiting.at(-1);
    if (!last || bytes.byteLength > dropBytes) {
      this.#waiting.push({ bytes, memory });
      return;
    }
    if (!last.gathers || last.bytes.byteLength + bytes.byteLength > last.memory.byteLength) {
      const gathered = new Uint8Array(gatheredBytes);
      last = { bytes: gathered.subarray(0, 0), memory: gathered, gathers: true };
      this.#waiting.push(last);
    }
    const filled = last.bytes.byteLength;
    last.memory.set(bytes, filled);
    last.bytes = last.memory.subarray(0, filled + bytes.byteLength);
    this.#parts.release?.(memory);
  }

  #hand({ bytes, memory }: Chunk, take: (chunk: Uint8Array) => void): void {
    this.#orFail(() => {
      take(bytes);
      this.#parts.release?.(memory);
    });
  }

  #orFail(act: () => void): void {
    try {
      act();
    } catch (thrown) {
      this.#take = undefined;
      this.#filling = undefined;
      this.#failed = LongshoreError.from(thrown, "transport", "reading a body");
      this.#parts.pause();
      this.#parts.leave?.();
    }
  }

  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  async #each(take: (chunk: Uint8Array) => void): Promise<void> {
    this.#take = take;
    for (const chunk of this.#waiting.splice(0)) if (!this.#failed) this.#hand(chunk, take);
    if (this.#left > 0 && !this.#failed) {
      this.#parts.resume();
      await this.#next();
    }
    if (this.#failed) throw this.#failed;
  }

  async #fill(take: () => Uint8Array, arrived?: (bytes: number) => void): Promise<void> {
    let told = 0;
    while (this.#waitingBytes < firstBytes && this.#left > 0 && !this.#failed) {
      this.#parts.resume();
      if (this.#waitingBytes > told) this.#orFail(() => arrived?.((told = this.#waitingBytes)));
      if (!this.#failed) await this.#next();
    }
    if (this.#failed) throw this.#failed;
    const filling: Filling = { memory: take(), arrived, filled: 0, reportedBytes: told };
    this.#filling = filling;
    try {
      await this.#each((chunk) => {
        filling.memory.set(chunk, filling.filled);
        advance(filling, chunk.byteLength);
      });
    } finally {
      this.#filling = undefined;
    }
  }

  async *#read(): AsyncIterable<Uint8Array> {
    let over = false;
    try {
      for (;;) {
        if (this.#failed) throw this.#failed;
        const chunk = this.#waiting.shift();
        if (chunk) {
          this.#waitingBytes -= chunk.bytes.byteLength;
          // Behind the end it is not for this body to say whether more should come.
          if (this.#waitingBytes <= waitingBytes && this.#left > 0) this.#parts.resume();
          yield chunk.bytes;
        } else if (this.#left === 0) {
          over = true;
          return;
        } else await this.#next();
      }
    } finally {
      if (!over) this.#parts.leave?.();
    }
  }
}

function advance(filling: Filling, bytes: number): void {
  filling.filled += bytes;
  if (filling.filled > filling.reportedBytes) filling.arrived?.(filling.filled);
}
