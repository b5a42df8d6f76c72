/** Streams that are remembered. */
const mostStreams = 1024;

/**
 * The streams of a connection that were broken off here. Frames that their client sent before it learned of that are no fault
 * of the client, as they would be on a stream that both sides have ended (RFC 9113, 5.1, closed).
 */
export class BrokenOff {
  readonly #streams = new Set<number>();
  /** The highest of those that were forgotten again. */
  #forgotten = 0;

  add(stream: number): void {
    this.#streams.add(stream);
    if (this.#streams.size <= mostStreams) return;
    for (const oldest of this.#streams) {
      this.#streams.delete(oldest);
      this.#forgotten = Math.max(this.#forgotten, oldest);
      return;
    }
  }

  /** Whether a stream that has ended may have been one of them. */
  mayHave(stream: number): boolean {
    return stream <= this.#forgotten || this.#streams.has(stream);
  }
}
