/**
 * Whether two byte strings are the same, in a time that depends on their lengths only: how far a guess was right must not
 * be measurable. Every byte is looked at, and nothing branches on one.
 */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.byteLength !== b.byteLength) return false;
  let difference = 0;
  // Inside the bounds, so that the fallback is never taken.
  for (let index = 0; index < a.byteLength; index += 1) difference |= (a[index] ?? 0) ^ (b[index] ?? 0);
  return difference === 0;
}
