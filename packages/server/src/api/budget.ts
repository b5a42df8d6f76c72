import { LongshoreError } from "@longshore/core";

/** Bytes that may be held at one time, shared by all requests: many small bodies fill memory as one large one does. */
export interface Budget {
  readonly usedBytes: number;
  /** Throws `rejected` when they do not fit beside what is held now. Dispose to give them back. */
  reserve(bytes: number): Disposable;
}

/** A budget of `maxBytes`. */
export function createBudget(maxBytes: number): Budget {
  let usedBytes = 0;
  return {
    get usedBytes(): number {
      return usedBytes;
    },
    reserve(bytes) {
      if (usedBytes + bytes > maxBytes) {
        throw new LongshoreError(
          "rejected",
          "admission",
          `bodies of ${usedBytes} bytes are being worked on; ${bytes} more exceed the ${maxBytes} that fit`,
          { retryAfterMs: 1000 },
        );
      }
      usedBytes += bytes;
      let over = false;
      return {
        [Symbol.dispose]() {
          if (!over) usedBytes -= bytes;
          over = true;
        },
      };
    },
  };
}
