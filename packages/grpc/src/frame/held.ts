import { LongshoreError } from "@longshore/core";

/** Counts the bytes of messages that are being received, over all connections. */
export interface BufferedBytes {
  readonly bytes: number;
  /** Throws `rejected` when they do not fit beside what is held now. */
  take(bytes: number): void;
  giveBack(bytes: number): void;
}

/** @param most Bytes that may be held at one time. */
export function createBufferedBytes(most: number): BufferedBytes {
  let held = 0;
  return {
    get bytes(): number {
      return held;
    },
    take(bytes) {
      if (held + bytes > most) {
        throw new LongshoreError(
          "rejected",
          "admission",
          `messages of ${held} bytes are being received; ${bytes} more exceed the ${most} that fit`,
          { retryAfterMs: 1000 },
        );
      }
      held += bytes;
    },
    giveBack(bytes) {
      held -= bytes;
    },
  };
}
