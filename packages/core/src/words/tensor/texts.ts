import { allSteps, LongshoreError, steppedCopy } from "../base/index.ts";
import { elementCount, type Tensor, tensorOf } from "./tensor.ts";

/*
 * BYTES tensors: each element is its length (u32, little endian) and that many bytes. An element costs four bytes on the wire
 * and some hundred as an object, so a message of 64 MiB could take gigabytes as a list; code that only checks, cuts or writes
 * elements works on the bytes instead.
 */

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

function misfit({ spec, bytes }: Tensor, expected: number): LongshoreError {
  return new LongshoreError(
    "body-mismatch",
    "decode",
    `${spec.name} should hold ${expected} length-prefixed elements in ${bytes.byteLength} bytes; it does not`,
  );
}

/**
 * Goes through the elements, and notes in `offsets` where each ends. Throws `body-mismatch` when they are not as many as
 * `expected` or do not fill the bytes.
 */
function walk(tensor: Tensor, expected: number, offsets: Float64Array | undefined): void {
  const { bytes, spec } = tensor;
  if (spec.datatype !== "BYTES") {
    throw new LongshoreError(
      "invalid-input",
      "execute",
      `${spec.name} is ${spec.datatype}; BYTES is needed here`,
    );
  }
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.byteLength;
  let at = 0;
  let index = 0;
  while (index < expected && at + 4 <= end) {
    at += 4 + header.getUint32(at, true);
    index++;
    if (offsets) offsets[index] = at;
  }
  if (index !== expected || at !== end) throw misfit(tensor, expected);
}

/** Throws `body-mismatch` unless a BYTES tensor holds as many elements as its shape says and no further bytes. */
export function checkElements(tensor: Tensor): void {
  walk(tensor, elementCount(tensor.spec.shape, tensor.spec.name), undefined);
}

/**
 * Where each element of a BYTES tensor begins, its prefix included, and at the end where the last one ends. Throws as
 * `checkElements`.
 */
export function elementOffsets(tensor: Tensor): Float64Array {
  const count = elementCount(tensor.spec.shape, tensor.spec.name);
  // No element takes less than its prefix, so that a shape that lies costs nothing.
  if (4 * count > tensor.bytes.byteLength) throw misfit(tensor, count);
  const offsets = new Float64Array(count + 1);
  walk(tensor, count, offsets);
  return offsets;
}

/** The elements of a BYTES tensor as views. Throws `body-mismatch` when a length runs past the end or the count differs. */
export function bytesElements(tensor: Tensor): readonly Uint8Array[] {
  const offsets = elementOffsets(tensor);
  const elements: Uint8Array[] = [];
  for (let index = 0; index + 1 < offsets.length; index++) {
    elements.push(tensor.bytes.subarray((offsets[index] ?? 0) + 4, offsets[index + 1]));
  }
  return elements;
}

/**
 * The elements of a BYTES tensor as text.
 *
 * @example
 * ```ts
 * import { tensorOf, textElements } from "longshore";
 *
 * // One text: its length as a little-endian number of 32 bits, then its bytes.
 * const labels = tensorOf("labels", "BYTES", [1], new Uint8Array([2, 0, 0, 0, 104, 105]));
 * console.log(textElements(labels)[0]); // hi
 * ```
 */
export function textElements(tensor: Tensor): readonly string[] {
  return bytesElements(tensor).map((element) => decoder.decode(element));
}

/** A BYTES tensor `[n]` of the given elements (strings as UTF-8), each copied once. */
export function bytesTensor(
  name: string,
  elements: readonly (Uint8Array | string)[],
  shape?: readonly number[],
): Tensor {
  const parts = elements.map((element) => (typeof element === "string" ? encoder.encode(element) : element));
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + 4 + part.byteLength, 0));
  const header = new DataView(bytes.buffer);
  let offset = 0;
  for (const part of parts) {
    header.setUint32(offset, part.byteLength, true);
    bytes.set(part, offset + 4);
    offset += 4 + part.byteLength;
  }
  return tensorOf(name, "BYTES", shape ?? [parts.length], bytes);
}

/** Bytes of texts that are collected before they are put aside. */
const chunkBytes = 65_536;

/** Writes texts one after another as the bytes of a BYTES tensor, without a list of them. */
export class TextWriter {
  readonly #chunks: Uint8Array[] = [];
  #chunk: Uint8Array;
  #used = 0;
  #byteLength = 0;

  /** @param expected Bytes that the texts will take, as far as it is known. */
  constructor(expected: number = chunkBytes) {
    this.#chunk = new Uint8Array(Math.min(chunkBytes, expected));
  }

  /** Bytes so far. */
  get byteLength(): number {
    return this.#byteLength;
  }

  add(text: string): void {
    // UTF-8 takes at most three bytes for each unit of a text.
    const most = 4 + 3 * text.length;
    if (most > this.#chunk.byteLength - this.#used) {
      this.#putAside();
      this.#chunk = new Uint8Array(Math.max(chunkBytes, most));
    }
    const { written } = encoder.encodeInto(text, this.#chunk.subarray(this.#used + 4));
    this.#begin(written);
    this.#used += written;
  }

  /** Adds a text that is there as pieces of UTF-8, which are copied when all is. */
  addPieces(pieces: readonly Uint8Array[]): void {
    if (this.#chunk.byteLength - this.#used < 4) {
      this.#putAside();
      this.#chunk = new Uint8Array(chunkBytes);
    }
    this.#begin(pieces.reduce((sum, { byteLength }) => sum + byteLength, 0));
    this.#putAside();
    for (const piece of pieces) this.#chunks.push(piece);
  }

  /** Writes how many bytes the next text has. */
  #begin(textBytes: number): void {
    const { buffer, byteOffset } = this.#chunk;
    new DataView(buffer, byteOffset).setUint32(this.#used, textBytes, true);
    this.#used += 4;
    this.#byteLength += 4 + textBytes;
  }

  #putAside(): void {
    if (this.#used === 0) return;
    this.#chunks.push(this.#chunk.subarray(0, this.#used));
    this.#chunk = this.#chunk.subarray(this.#used);
    this.#used = 0;
  }

  /** All of them, in memory of their own. */
  bytes(): Uint8Array<ArrayBuffer> {
    return allSteps(this.bytesInSteps());
  }

  /** The same; yields after each two milliseconds or so. */
  *bytesInSteps(): Generator<void, Uint8Array<ArrayBuffer>> {
    this.#putAside();
    const whole = new Uint8Array(this.#byteLength);
    const copy = steppedCopy();
    let to = 0;
    for (const chunk of this.#chunks) {
      yield* copy(whole, to, chunk);
      to += chunk.byteLength;
    }
    return whole;
  }
}
