/*
 * Memory of bodies that are forwarded while they arrive and kept for a retry. Pieces of 64 KiB, each in fresh memory, make a
 * body of 600 kB ten reads, ten passes through two queues and ten writes, and fresh pages for all of it. Here a body has one
 * memory of exactly its length, each read takes all that is there, and memory that comes back serves the next body of that
 * length.
 *
 * A reader that still holds a piece after all were freed sees an empty view: memory is transferred before it is used again, which
 * detaches every view of the old buffer. Only bytes that were read into it are ever handed out, so no reader sees earlier content.
 */

/** Longer bodies come in pieces: to announce megabytes costs a sender nothing. */
const mostBytes = 4 * 2 ** 20;
/** Memory that waits for bodies of its length. */
const mostSpareBytes = 16 * 2 ** 20;

/** Memory that was used and can be used again, for bodies of its length. */
export class SpareMemory {
  #spare: ArrayBuffer[] = [];
  #bytes = 0;

  take(byteLength: number): ArrayBuffer {
    const at = this.#spare.findLastIndex((one) => one.byteLength === byteLength);
    if (at < 0) return new ArrayBuffer(byteLength);
    this.#bytes -= byteLength;
    return this.#spare.splice(at, 1)[0] ?? new ArrayBuffer(byteLength);
  }

  /** Empties all views on it. */
  give(memory: ArrayBuffer): void {
    const { byteLength } = memory;
    this.#spare.push(structuredClone(memory, { transfer: [memory] }));
    this.#bytes += byteLength;
    while (this.#bytes > mostSpareBytes) this.#bytes -= this.#spare.shift()?.byteLength ?? 0;
  }
}

/** The memory of what is still to come of a body, read into piece by piece. */
export class KeptMemory {
  readonly #spare: SpareMemory;
  readonly #release: (memory: Uint8Array) => void;
  #memory: ArrayBuffer | undefined;
  #filled = 0;
  #freed = 0;
  #complete = false;

  /** @param release Frees what does not lie in it. */
  constructor(spare: SpareMemory, release: (memory: Uint8Array) => void) {
    this.#spare = spare;
    this.#release = release;
  }

  /** Where the next bytes go, of which `left` are to come; undefined where that is too much for one memory. */
  next(left: number): Uint8Array | undefined {
    if (!this.#memory && left > mostBytes) return undefined;
    this.#memory ??= this.#spare.take(left);
    return new Uint8Array(this.#memory, this.#filled);
  }

  /** So many bytes were read into it. */
  filled(bytes: number): void {
    this.#filled += bytes;
  }

  /** Nothing is read into it any more. */
  complete(): void {
    this.#complete = true;
    this.#giveBack();
  }

  /** Frees a piece that is no longer needed. Until the whole body has arrived, reads still fill the memory, so it stays. */
  free(piece: Uint8Array): void {
    if (!this.#memory || piece.buffer !== this.#memory) {
      this.#release(piece);
      return;
    }
    this.#freed += piece.byteLength;
    this.#giveBack();
  }

  #giveBack(): void {
    if (!this.#memory || !this.#complete || this.#freed < this.#filled) return;
    this.#spare.give(this.#memory);
    this.#memory = undefined;
  }
}
