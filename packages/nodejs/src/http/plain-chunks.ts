/** Letters of a line that tells the size of a chunk, and of all trailers together. */
const longestSize = 256;
const longestTrailers = 8192;

const sizeLine = /^([0-9a-f]{1,8})(;[\t\x20-\x7e]*)?\r\n$/i;
const trailerLine = /^[a-z0-9_-]+:[\t\x20-\x7e]*\r\n$/i;

/** Reads a body that comes in chunks, in whatever pieces it arrives. */
export class PlainChunks {
  /** The last chunk was read, and what follows it. */
  done = false;
  /** It said more than where its chunks end. */
  odd = false;
  #next: "size" | "end of chunk" | "trailer" = "size";
  /** Of the chunk under way. */
  #left = 0;
  /** The beginning of the line under way. */
  #line = "";
  #trailers = 0;

  /**
   * Hands over the data in a piece and gives how many bytes of it belong to the body: all, unless it ends here. Throws an
   * Error for what is malformed.
   */
  read(piece: Buffer, take: (data: Buffer) => void): number {
    let at = 0;
    while (at < piece.byteLength && !this.done) {
      if (this.#left > 0) {
        const end = Math.min(piece.byteLength, at + this.#left);
        this.#left -= end - at;
        take(piece.subarray(at, end));
        at = end;
        continue;
      }
      const feed = piece.indexOf(10, at);
      const end = feed < 0 ? piece.byteLength : feed + 1;
      if (this.#line.length + end - at > this.#longest()) throw new Error(`a ${this.#next} is too long`);
      this.#line += piece.toString("latin1", at, end);
      at = end;
      if (feed >= 0) this.#read();
    }
    return at;
  }

  #longest(): number {
    if (this.#next === "end of chunk") return 2;
    return this.#next === "size" ? longestSize : longestTrailers - this.#trailers;
  }

  #read(): void {
    const line = this.#line;
    this.#line = "";
    if (this.#next === "size") {
      const [, size, extension] = sizeLine.exec(line) ?? [];
      if (size === undefined) throw new Error("the size of a chunk makes no sense");
      this.odd ||= extension !== undefined;
      this.#left = Number.parseInt(size, 16);
      this.#next = this.#left > 0 ? "end of chunk" : "trailer";
    } else if (this.#next === "end of chunk") {
      if (line !== "\r\n") throw new Error("a chunk is longer than it says");
      this.#next = "size";
    } else if (line === "\r\n") this.done = true;
    else {
      if (!trailerLine.test(line)) throw new Error("a trailer makes no sense");
      this.odd = true;
      this.#trailers += line.length;
    }
  }
}
