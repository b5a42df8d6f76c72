import { type HeaderLimits, HeaderReader } from "./header-reader.ts";
import { type RequestHead, requestHead } from "./request-head.ts";

/** Why a block of headers is no call's: all after it on the connection is lost, its own stream is wrong, or it says too much. */
export type BadHead = "broken" | "malformed" | "too large";

/** Reads the headers of all calls of a connection, in their order. Headers equal to the last ones are not parsed again. */
export class HeadReader {
  readonly #reader: HeaderReader;
  #text = "";
  #changes = -1;
  #head: RequestHead | BadHead = "malformed";

  constructor(limits: HeaderLimits) {
    this.#reader = new HeaderReader(limits);
  }

  read(block: Uint8Array): RequestHead | BadHead {
    const text = Buffer.from(block.buffer, block.byteOffset, block.byteLength).toString("latin1");
    const { changes } = this.#reader;
    if (changes === this.#changes && text === this.#text) return this.#head;
    const read = this.#reader.read(block);
    if (!read) return "broken";
    this.#head = read.tooLarge ? "too large" : (requestHead(read.fields) ?? "malformed");
    // A block that changed the tables would change them again.
    this.#changes = this.#reader.changes === changes ? changes : -1;
    this.#text = text;
    return this.#head;
  }
}
