/** Where a connection reads to. */
export interface Reads {
  /** Memory for the next read, at least a byte, which stays where it is until `came` or the end of the connection. */
  memory(): Uint8Array;
  /** So many bytes are in the memory that was asked for last. */
  came(bytes: number): void;
}
