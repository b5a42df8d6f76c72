import type { Http2Stream } from "./stream.ts";

/**
 * Calls of a connection, the newest last: they are few, and most lookups are for one of the last. A `Map` that changes with
 * every call would keep what has left it in memory (see `Chain`).
 */
export class StreamList {
  readonly #all: Http2Stream[] = [];

  get size(): number {
    return this.#all.length;
  }

  /** A copy: those that are closed leave the list. */
  get all(): readonly Http2Stream[] {
    return [...this.#all];
  }

  /** A stream in the list keeps its position. Returns it. */
  add(stream: Http2Stream): Http2Stream {
    if (!this.#all.includes(stream)) this.#all.push(stream);
    return stream;
  }

  find(id: number): Http2Stream | undefined {
    return this.#all.findLast((stream) => stream.id === id);
  }

  /** Takes the first one out. */
  take(): Http2Stream | undefined {
    return this.#all.shift();
  }

  remove(stream: Http2Stream): void {
    const at = this.#all.lastIndexOf(stream);
    if (at >= 0) this.#all.splice(at, 1);
  }
}
