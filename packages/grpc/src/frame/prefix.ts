/** Bytes of the flag and the length before each message. */
export const prefixBytes = 5;

/** The prefix of a message of this many bytes. */
export function prefixOf(byteLength: number, compressed: boolean): Uint8Array {
  const bytes = new Uint8Array(prefixBytes);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, compressed ? 1 : 0);
  view.setUint32(1, byteLength);
  return bytes;
}
