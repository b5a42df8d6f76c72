import { type Tensor, type Tensors, totalBytes } from "./tensor.ts";

const none: readonly (readonly [string, Tensor])[] = [];

/** Inputs with more bytes than this are not hashed to detect a retry: that would delay all other requests. */
const mostReadBytes = 4 * 2 ** 20;

/**
 * Tells a retry of a request from another request; undefined for inputs beyond `mostBytes` (default 4 MiB). Two 32-bit hashes
 * over the request's parameters and every input, four bytes at a time (multiply and rotate, after A. Appleby's MurmurHash3).
 * Not a secret and not proof against malice: a tenant can only fool itself with it.
 */
export function fingerprint(
  asked: string,
  inputs: Tensors,
  mostBytes: number = mostReadBytes,
): string | undefined {
  if (totalBytes(inputs) > mostBytes) return undefined;
  let one = 0x811c9dc5;
  let two = 0x9747b28c;
  const mix = (bytes: Uint8Array): void => {
    const words = bytes.byteLength >> 2;
    // A view of words needs an aligned start; other bytes are copied.
    const even = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
    const view = new Int32Array(even.buffer, even.byteOffset, words);
    // Whole numbers of the loop's own stay in registers; variables that functions share do not.
    let first = one | 0;
    let second = two | 0;
    for (let index = 0; index < words; index++) {
      const word = view[index] as number;
      first = Math.imul(first ^ word, 0xcc9e2d51);
      first = (first << 13) | (first >>> 19);
      second = Math.imul((second + word) | 0, 0x1b873593);
      second = (second << 15) | (second >>> 17);
    }
    one = first;
    two = second;
    for (let index = words << 2; index < bytes.byteLength; index++) {
      one = Math.imul(one ^ (bytes[index] as number), 0x01000193);
      two = Math.imul(two + (bytes[index] as number), 0x85ebca6b);
    }
    one ^= bytes.byteLength;
  };
  const mixText = (text: string): void => {
    let first = one | 0;
    let second = two | 0;
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index);
      first = Math.imul(first ^ code, 0x01000193);
      second = Math.imul((second + code) | 0, 0x85ebca6b);
    }
    one = first ^ text.length;
    two = second;
  };
  mixText(asked);
  const named = inputs.size === 0 ? none : [...inputs].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, { spec, bytes }] of named) {
    mixText(name);
    mixText(spec.datatype);
    for (const size of spec.shape) one = Math.imul(one ^ size, 0x01000193);
    mix(bytes);
  }
  return `${one >>> 0}-${two >>> 0}`;
}
