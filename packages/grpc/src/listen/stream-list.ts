import type { QuickStream } from "./quick-stream.ts";

/**
 * Calls of a connection, the newest last: they are few, and most lookups are for one of the last. A `Map` that changes with
 * every call would keep what has left it in memory (see `Chain`).
 */
export class StreamList {
  readonly #all: QuickStream[] = [];

  get size(): number {
    return this.#all.length;
  }

  /** A copy: those that are closed leave the list. */
  get all(): readonly QuickStream[] {
    return [...this.#all];
  }

  /** A stream in the list keeps its position. Returns it. */
  add(stream: QuickStream): QuickStream {
    if (!this.#all.includes(stream)) this.#all.push(stream);
    return stream;
  }

  find(id: number): QuickStream | undefined {
    return this.#all.findLast((stream) => stream.id === id);
  }

  /** Takes the first one out. */
  take(): QuickStream | undefined {
    return this.#all.shift();
  }

  remove(stream: QuickStream): void {
    const at = this.#all.lastIndexOf(stream);
    if (at >= 0) this.#all.splice(at, 1);
  }
}
