import { bytesElements, isGiven, LongshoreError, type Tensor, type Tensors } from "@longshore/core";
import type { FeedMessage } from "./runner-message.ts";

/*
 * How inputs travel to a runner. Borrowed tensors are copied, once, into one buffer that comes back with the answer and is
 * used again: the second run into the same memory costs no page faults, which are most of the price of a fresh copy of
 * some megabytes. A tensor that was given, that fills its buffer and that is large is moved instead. SharedArrayBuffers
 * would save the copy, but ONNX Runtime refuses tensors on them.
 */

/** Elements of any type start at a multiple of this in the common buffer. */
const alignment = 64;
/** Below this a copy is cheaper than moving one more buffer. */
const worthMovingBytes = 16_384;
/** A spare buffer larger than this is given up rather than kept. */
const keptBytes = 16 * 1024 * 1024;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * JavaScript runtimes take text elements as strings, which end at a zero byte and must be UTF-8: anything else would be
 * changed silently, so it is refused.
 */
function textsOf(tensor: Tensor): readonly string[] {
  return bytesElements(tensor).map((element, index) => {
    const refused = (why: string): LongshoreError =>
      new LongshoreError(
        "invalid-input",
        "execute",
        `element ${index} of input '${tensor.spec.name}' ${why}`,
      );
    if (element.includes(0)) throw refused("has a zero byte, where this runtime would cut it off");
    try {
      return decoder.decode(element);
    } catch {
      throw refused("is not UTF-8, and this runtime takes text only");
    }
  });
}

function movable(tensor: Tensor): boolean {
  const { bytes } = tensor;
  return (
    isGiven(tensor) &&
    bytes.byteLength >= worthMovingBytes &&
    bytes.byteLength === bytes.buffer.byteLength &&
    bytes.buffer instanceof ArrayBuffer
  );
}

/** Inputs ready to send. */
export interface PackedFeeds {
  readonly feeds: readonly FeedMessage[];
  readonly buffer: ArrayBuffer;
  readonly transfer: readonly ArrayBuffer[];
}

/**
 * Packs checked feeds. `moves` tells whether memory moves to the runner (a worker) or is copied on the way anyway (a
 * process). `spare` is the buffer of an earlier run.
 */
export function packFeeds(feeds: Tensors, moves: boolean, spare: ArrayBuffer | undefined): PackedFeeds {
  const messages: FeedMessage[] = [];
  const copies: { readonly offset: number; readonly bytes: Uint8Array }[] = [];
  const transfer: ArrayBuffer[] = [];
  let size = 0;
  for (const [name, tensor] of feeds) {
    const { bytes, spec } = tensor;
    const { datatype, shape } = spec;
    if (datatype === "BYTES") {
      messages.push({ name, datatype, shape, texts: textsOf(tensor), offset: 0, byteLength: 0 });
    } else if (moves && movable(tensor) && !transfer.includes(bytes.buffer as ArrayBuffer)) {
      // `movable` has seen that it is an ArrayBuffer.
      const buffer = bytes.buffer as ArrayBuffer;
      messages.push({ name, datatype, shape, buffer, offset: 0, byteLength: bytes.byteLength });
      transfer.push(buffer);
    } else {
      messages.push({ name, datatype, shape, offset: size, byteLength: bytes.byteLength });
      copies.push({ offset: size, bytes });
      size = Math.ceil((size + bytes.byteLength) / alignment) * alignment;
    }
  }
  const buffer = spare && spare.byteLength >= size ? spare : new ArrayBuffer(size);
  for (const { offset, bytes } of copies) new Uint8Array(buffer, offset, bytes.byteLength).set(bytes);
  if (moves) transfer.push(buffer);
  return { feeds: messages, buffer, transfer };
}

/** The buffer to keep for the next run: none when it is too large to lie idle. */
export function keepSpare(buffer: ArrayBuffer | undefined): ArrayBuffer | undefined {
  return buffer && buffer.byteLength <= keptBytes ? buffer : undefined;
}
