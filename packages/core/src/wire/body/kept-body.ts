/**
 * A body on its way to several readers.
 *
 * A request that is sent on before all of it is here cannot be sent again by its sender when the first endpoint fails, nor can
 * a second run begin in the middle. To read it whole first costs the time of the whole upload; to only pass it through costs
 * the second try. So it is kept while it comes: every reader gets it from its first byte, at its own pace, and the first of
 * them waits for nothing that is here.
 *
 * Memory is bounded: of a body longer than the limit, the part that all readers have read is dropped and the sender is held
 * back until they have; from then on no reader can begin (`again` is false). Invariant: a reader sees every byte exactly once
 * and in order, or an error.
 */
import { LongshoreError } from "../../words/base/index.ts";
import type { BodyCheck } from "../protocol/index.ts";
import { type BodyOptions, mismatch, readBody } from "./read-body.ts";
import type { StreamBody } from "./body.ts";

/** A body on its way, with its state. Dispose it when it has no more readers: then its sender is not read on. */
export interface KeptBody extends StreamBody, Disposable {
  /** As it was announced. */
  readonly byteLength: number;
  /** Whether a reader can begin now. */
  readonly again: boolean;
  /** Whether the last byte has come. */
  readonly complete: boolean;
  /** The first bytes, in memory of their own, as soon as they are here. */
  first(bytes: number): Promise<Uint8Array>;
  /** From the first byte, as it comes; any number of times, at the same time, too. Throws what the sender's body throws. */
  read(): AsyncIterable<Uint8Array>;
  /** All of it in one buffer, as `readBody` gives it; the same one each time. */
  whole(options: BodyOptions): Promise<Uint8Array>;
}

/**
 * A body of known length that is read from now on. `arrived` gets the number of bytes so far, in all, after each chunk. `check`
 * sees each chunk, and no reader gets the last one if it fails: a damaged body is not passed on whole.
 */
export function keptBody(
  body: StreamBody,
  byteLength: number,
  parts: {
    readonly maxKeptBytes: number;
    readonly arrived?: (bytes: number) => void;
    readonly check?: BodyCheck | undefined;
  },
): KeptBody {
  return new Kept(body, byteLength, parts);
}

interface Reader {
  /** Bytes that it was given. */
  bytes: number;
}

class Kept implements KeptBody {
  readonly kind = "stream";
  readonly byteLength: number;
  readonly #maxKeptBytes: number;
  readonly #arrived: ((bytes: number) => void) | undefined;
  readonly #check: BodyCheck | undefined;
  #chunks: Uint8Array[] = [];
  /** Chunks and bytes before the first that is kept. */
  #droppedChunks = 0;
  #droppedBytes = 0;
  #bytes = 0;
  #over = false;
  #failed: LongshoreError | undefined;
  /** Nobody was to read it any more: its chunks are not here. */
  #gone = false;
  readonly #free: ((chunk: Uint8Array) => void) | undefined;
  /** A reader left in the middle of a chunk, which may still be on its way out. */
  #left = false;
  readonly #readers = new Set<Reader>();
  #waiting: (() => void)[] = [];
  #whole: Promise<Uint8Array> | undefined;

  constructor(body: StreamBody, byteLength: number, parts: Parameters<typeof keptBody>[2]) {
    this.byteLength = byteLength;
    this.#maxKeptBytes = parts.maxKeptBytes;
    this.#arrived = parts.arrived;
    this.#check = parts.check;
    this.#free = body.free?.bind(body);
    void this.#take(body);
  }

  get again(): boolean {
    return this.#droppedBytes === 0 && !this.#failed && !this.#gone;
  }

  get complete(): boolean {
    return this.#bytes === this.byteLength;
  }

  async first(bytes: number): Promise<Uint8Array> {
    this.#refuseGone();
    while (this.#bytes < bytes && !this.#over && !this.#failed) await this.#change();
    if (this.#failed) throw this.#failed;
    if (this.#bytes < bytes) throw mismatch(this.byteLength, this.#bytes);
    const joined = new Uint8Array(bytes);
    let offset = 0;
    for (const chunk of this.#chunks) {
      if (offset === bytes) break;
      const part = chunk.subarray(0, bytes - offset);
      joined.set(part, offset);
      offset += part.byteLength;
    }
    return joined;
  }

  async *read(): AsyncIterable<Uint8Array> {
    this.#refuseGone();
    if (this.#droppedBytes > 0) {
      throw new LongshoreError(
        "body-too-large",
        "transport",
        `the body of ${this.byteLength} bytes was sent on once; only ${this.#maxKeptBytes} are kept for another try`,
      );
    }
    const reader: Reader = { bytes: 0 };
    let next = 0;
    let given = false;
    this.#readers.add(reader);
    try {
      for (;;) {
        const chunk = this.#chunks[next - this.#droppedChunks];
        if (chunk) {
          given = true;
          yield chunk;
          given = false;
          next += 1;
          reader.bytes += chunk.byteLength;
          this.#drop();
        } else if (this.#failed) throw this.#failed;
        else if (this.#over) return;
        else await this.#change();
      }
    } finally {
      this.#left ||= given;
      this.#readers.delete(reader);
      this.#drop();
    }
  }

  whole(options: BodyOptions): Promise<Uint8Array> {
    const body: StreamBody = { kind: "stream", byteLength: this.byteLength, read: () => this.read() };
    this.#whole ??= readBody(body, options);
    return this.#whole;
  }

  [Symbol.dispose](): void {
    if (!this.#over) {
      this.#fail(new LongshoreError("cancelled", "transport", "nobody waits for the body any more"));
    }
    if (this.#left || this.#readers.size > 0) return;
    this.#gone = true;
    for (const chunk of this.#chunks.splice(0)) this.#free?.(chunk);
  }

  /** The error is made only when it is read: rarely, while bodies end all the time. */
  #refuseGone(): void {
    if (this.#gone)
      this.#failed ??= new LongshoreError("cancelled", "transport", "the body is not here any more");
    if (this.#failed) throw this.#failed;
  }

  async #take(body: StreamBody): Promise<void> {
    try {
      for await (const chunk of body.read()) {
        if (this.#failed) return;
        this.#bytes += chunk.byteLength;
        if (this.#bytes > this.byteLength) throw mismatch(this.byteLength, this.#bytes);
        this.#check?.add(chunk);
        if (this.#bytes === this.byteLength) this.#check?.finish();
        this.#arrived?.(this.#bytes);
        // With a function to free chunks, they are given away; otherwise their memory may be used again.
        this.#chunks.push(this.#free ? chunk : chunk.slice());
        this.#changed();
        while (this.#bytes - this.#droppedBytes > this.#maxKeptBytes && !this.#failed) await this.#change();
        if (this.#failed) return;
      }
      if (this.#bytes !== this.byteLength) throw mismatch(this.byteLength, this.#bytes);
      this.#over = true;
      this.#changed();
    } catch (thrown) {
      this.#fail(LongshoreError.from(thrown, "transport", "reading the body"));
    }
  }

  #fail(error: LongshoreError): void {
    this.#failed ??= error;
    this.#changed();
  }

  /** Drops the part of a body above the limit that all of its readers have read. */
  #drop(): void {
    if (this.byteLength <= this.#maxKeptBytes || this.#readers.size === 0) return;
    let least = Infinity;
    for (const { bytes } of this.#readers) least = Math.min(least, bytes);
    for (let first = this.#chunks[0]; first; first = this.#chunks[0]) {
      if (this.#bytes - this.#droppedBytes <= this.#maxKeptBytes) break;
      if (this.#droppedBytes + first.byteLength > least) break;
      this.#chunks.shift();
      this.#droppedChunks += 1;
      this.#droppedBytes += first.byteLength;
      this.#changed();
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}
