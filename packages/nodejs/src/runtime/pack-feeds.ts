import type { Tensor, Tensors } from "@longshore/core";
import { allSteps, inSteps, isGiven, steppedCopy } from "@longshore/core/internal";
import type { AgainMessage, FeedMessage, RunMessage } from "./runner-message.ts";
import { aligned } from "./shared-page.ts";

/*
 * How inputs travel to a runner. Borrowed tensors are copied once: small ones into the page that both sides share, larger ones
 * into one buffer that returns with the answer and is reused. A second run into the same memory causes no page faults, which
 * are most of the cost of a fresh copy of some megabytes. A large tensor that was given and fills its buffer is moved instead.
 * The whole buffer of a lent tensor is moved too, and returns instead of the reused buffer. Tensors on shared memory would save
 * the copies, but ONNX Runtime refuses them.
 */

/** Below this a copy is cheaper than moving one more buffer. */
const worthMovingBytes = 16_384;
/** A larger spare buffer is dropped. */
const keptBytes = 16 * 1024 * 1024;

function movable(tensor: Tensor): boolean {
  const { bytes } = tensor;
  return (
    isGiven(tensor) &&
    bytes.byteLength >= worthMovingBytes &&
    bytes.byteLength === bytes.buffer.byteLength &&
    bytes.buffer instanceof ArrayBuffer
  );
}

/** The one input of a run, if its memory must be returned to its giver. */
function onLoan(tensors: Tensors): readonly [string, Tensor] | undefined {
  const [first] = tensors;
  const only = first?.[1];
  if (!only?.back || tensors.size !== 1 || !isGiven(only) || only.spec.datatype === "BYTES") return undefined;
  const { buffer, byteOffset, byteLength } = only.bytes;
  // Views of 8-byte elements begin at multiples of 8.
  const fits = buffer instanceof ArrayBuffer && byteOffset % 8 === 0 && byteLength >= worthMovingBytes;
  return fits ? first : undefined;
}

/** A run on memory that the other side moves back afterwards. */
function packLoan(
  [name, { spec, bytes }]: readonly [string, Tensor],
  fetches: readonly string[],
): { readonly message: RunMessage; readonly transfer: readonly ArrayBuffer[] } {
  // `onLoan` checked that it is an ArrayBuffer.
  const buffer = bytes.buffer as ArrayBuffer;
  const { datatype, shape } = spec;
  const feed: FeedMessage = {
    name,
    datatype,
    shape,
    offset: bytes.byteOffset,
    byteLength: bytes.byteLength,
  };
  return { message: { kind: "run", feeds: [feed], fetches, buffer, pageBytes: 0 }, transfer: [buffer] };
}

/** Inputs ready to send. */
export interface PackedFeeds {
  readonly message: RunMessage | AgainMessage;
  readonly transfer: readonly ArrayBuffer[];
}

/** Packs the inputs of one session's runs, one run after another. */
export interface FeedPacker {
  /**
   * Packs checked inputs. The previous run must be over. While megabytes are copied, it awaits a `pause` after about every two
   * milliseconds; an error of the pause ends it.
   */
  pack(
    tensors: Tensors,
    fetches: readonly string[],
    pause: () => Promise<void>,
  ): PackedFeeds | Promise<PackedFeeds>;
  /** Takes a returned buffer. */
  returned(buffer: ArrayBuffer): void;
}

function same<T>(a: readonly T[], b: readonly T[]): boolean {
  return a === b || (a.length === b.length && a.every((value, index) => value === b[index]));
}

/** Whether a run differs from the previous one only in the elements of its tensors. */
function repeats(last: RunMessage, tensors: Tensors, fetches: readonly string[]): boolean {
  if (last.feeds.length !== tensors.size || !same(last.fetches, fetches)) return false;
  let index = 0;
  for (const [name, { spec }] of tensors) {
    const feed = last.feeds[index++];
    if (!feed || feed.name !== name || feed.datatype !== spec.datatype || !same(feed.shape, spec.shape)) {
      return false;
    }
  }
  return true;
}

function* copyWork(
  target: Uint8Array,
  tensors: Tensors,
  feeds: readonly FeedMessage[],
): Generator<void, void> {
  const copy = steppedCopy();
  for (const { name, offset, byteLength, buffer } of feeds) {
    const tensor = tensors.get(name);
    // Moved memory is not copied.
    if (!tensor || buffer === tensor.bytes.buffer) continue;
    const into = buffer ? new Uint8Array(buffer) : target.subarray(offset, offset + byteLength);
    yield* copy(into, 0, tensor.bytes);
  }
}

/**
 * `moves`: whether buffers move to the runner (a worker) or are copied on the way (a process). `page`: the shared page's part for inputs,
 * if there is one.
 */
export function feedPacker(moves: boolean, page: Uint8Array | undefined): FeedPacker {
  let spare: ArrayBuffer | undefined;
  /** The previous run, if all its inputs lay in the page. */
  let last: RunMessage | undefined;
  /** Returns the buffer of the run under way to its giver. */
  let back: Tensor["back"];

  return {
    pack(tensors, fetches, pause) {
      const loan = moves ? onLoan(tensors) : undefined;
      back = loan?.[1].back;
      if (loan) {
        last = undefined;
        return packLoan(loan, fetches);
      }
      if (page && last && repeats(last, tensors, fetches)) {
        allSteps(copyWork(page, tensors, last.feeds));
        return { message: { kind: "again" }, transfer: [] };
      }
      const feeds: FeedMessage[] = [];
      const transfer: ArrayBuffer[] = [];
      let size = 0;
      for (const [name, tensor] of tensors) {
        const { bytes, spec } = tensor;
        const { datatype, shape } = spec;
        const { byteLength } = bytes;
        const moved = moves && movable(tensor) && !transfer.includes(bytes.buffer as ArrayBuffer);
        if (moved || datatype === "BYTES") {
          // `movable` checked that it is an ArrayBuffer.
          const buffer = moved ? (bytes.buffer as ArrayBuffer) : new ArrayBuffer(byteLength);
          feeds.push({ name, datatype, shape, buffer, offset: 0, byteLength });
          if (moves) transfer.push(buffer);
        } else {
          feeds.push({ name, datatype, shape, offset: size, byteLength });
          size = aligned(size + byteLength);
        }
      }
      const inPage = page !== undefined && size <= page.byteLength;
      let target: Uint8Array = page ?? new Uint8Array(0);
      let message: RunMessage = { kind: "run", feeds, fetches, pageBytes: size };
      if (!inPage) {
        const buffer = spare && spare.byteLength >= size ? spare : new ArrayBuffer(size);
        spare = undefined;
        target = new Uint8Array(buffer);
        message = { kind: "run", feeds, fetches, buffer, pageBytes: 0 };
        if (moves) transfer.push(buffer);
      }
      last = undefined;
      const packed = { message, transfer };
      const copying = inSteps(copyWork(target, tensors, feeds), pause);
      if (copying instanceof Promise) return copying.then(() => packed);
      if (inPage && !feeds.some(({ buffer }) => buffer)) last = message;
      return packed;
    },
    returned(buffer) {
      if (back) back(buffer);
      else if (moves && buffer.byteLength <= keptBytes) spare = buffer;
    },
  };
}
