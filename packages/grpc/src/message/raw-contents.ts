import { LongshoreError } from "@longshore/core";
import { type BinaryHead, mostLengthBytes, rawTag } from "./binary-head.ts";
import { rawName } from "./infer-request.ts";

function wrong(message: string): LongshoreError {
  return new LongshoreError("body-mismatch", "decode", message);
}

/** Takes the raw contents out of a message while it arrives, cut anywhere; the output is the tensors, one after the other. */
export class RawContents {
  readonly #head: BinaryHead;
  /** Bytes before the first raw contents that are still to come. */
  #before: number;
  /** The next of the inputs whose tag and length are to come. */
  #next = 0;
  /** Bytes of a tag and a length that have come, and the length as far as it has. */
  #framing = 0;
  #length = 0;
  /** Bytes of a tensor that are still to come. */
  #left = 0;

  constructor(head: BinaryHead) {
    this.#head = head;
    this.#before = head.rawFrom;
  }

  /**
   * The parts of the next bytes of the message that are tensors, as views. Throws `body-mismatch` where its raw contents are other
   * than its beginning said.
   */
  take(chunk: Uint8Array): readonly Uint8Array[] {
    const parts: Uint8Array[] = [];
    let at = Math.min(this.#before, chunk.byteLength);
    this.#before -= at;
    while (at < chunk.byteLength) {
      if (this.#left === 0) {
        this.#frame(chunk[at++] ?? 0);
        continue;
      }
      const part = chunk.subarray(at, at + this.#left);
      parts.push(part);
      at += part.byteLength;
      this.#left -= part.byteLength;
    }
    return parts;
  }

  /** All of the message was taken. Throws as `take`. */
  end(): void {
    if (this.#next < this.#head.inputs.length || this.#left > 0) throw this.#tooFew();
  }

  #frame(byte: number): void {
    const input = this.#head.inputs[this.#next];
    if (this.#framing === 0) {
      if (!input || byte !== rawTag) throw this.#tooFew();
      this.#framing = 1;
      this.#length = 0;
      return;
    }
    this.#length += (byte & 0x7f) * 128 ** (this.#framing - 1);
    this.#framing += 1;
    if (byte >= 0x80 && this.#framing <= mostLengthBytes) return;
    const { name = "", awaitedBytes = 0 } = input ?? {};
    if (byte >= 0x80 || this.#length !== awaitedBytes) {
      throw wrong(`${name} takes ${awaitedBytes} bytes, but its ${rawName} are ${this.#length}`);
    }
    this.#framing = 0;
    this.#next += 1;
    this.#left = awaitedBytes;
  }

  #tooFew(): LongshoreError {
    return wrong(`${rawName} has ${this.#next} entries for ${this.#head.inputs.length} inputs`);
  }
}
