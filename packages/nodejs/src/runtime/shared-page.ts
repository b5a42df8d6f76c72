/*
 * A small network runs in a tenth of a millisecond. Moving its inputs and outputs between threads in their own buffers costs a fifth of
 * that: each run creates and drops array buffers in both threads. So a session and its worker share one page of memory. Small inputs are
 * written into it before the run and small outputs after it. A runner does one thing at a time, so the page needs no locks. Larger inputs
 * travel in one buffer, larger outputs in their own.
 */

/** Maximum bytes of the inputs, and of the outputs, of a run that uses the page. */
export const pageBytes = 32_768;
/** Bytes of the header in front of them. */
const headerBytes = 64;

/** Tensors begin at multiples of this, which fits every element type. */
const alignment = 64;

/** Offset of the next tensor after `bytes`. */
export function aligned(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

/** The parts of the shared memory. */
export interface SharedPage {
  /** 1 while the worker is inside native code; notified when it turns 0. */
  readonly busy: Int32Array;
  readonly inputs: Uint8Array;
  readonly outputs: Uint8Array;
}

/** Fresh shared memory of the right size. */
export function newSharedMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(headerBytes + 2 * pageBytes);
}

/** The parts of shared memory, in either thread. */
export function sharedPage(memory: SharedArrayBuffer): SharedPage {
  return {
    busy: new Int32Array(memory, 0, 1),
    inputs: new Uint8Array(memory, headerBytes, pageBytes),
    outputs: new Uint8Array(memory, headerBytes + pageBytes, pageBytes),
  };
}
