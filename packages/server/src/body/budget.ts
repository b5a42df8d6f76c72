import { LongshoreError } from "@longshore/core";

/** A part of a budget. Dispose it to give it back. */
export interface BudgetShare extends Disposable {
  /** Holds that many bytes in all from now on, never fewer than before. Throws `rejected` when they do not fit. */
  grow(toBytes: number): void;
}

/** Bytes that may be held at one time, shared by all requests: many small bodies fill memory as one large one does. */
export interface Budget {
  readonly usedBytes: number;
  /** Throws `rejected` when they do not fit beside what is held now. */
  check(bytes: number): void;
  /** Throws as `check`. */
  reserve(bytes: number): BudgetShare;
}

/** A budget of `maxBytes`. */
export function createBudget(maxBytes: number): Budget {
  let usedBytes = 0;
  const check = (bytes: number): void => {
    if (usedBytes + bytes <= maxBytes) return;
    throw new LongshoreError(
      "rejected",
      "admission",
      `bodies of ${usedBytes} bytes are being worked on; ${bytes} more exceed the ${maxBytes} that fit`,
      { retryAfterMs: 1000 },
    );
  };
  /** Negative to give back, which always fits. */
  const take = (bytes: number): void => {
    if (bytes > 0) check(bytes);
    usedBytes += bytes;
  };
  return {
    get usedBytes(): number {
      return usedBytes;
    },
    check,
    reserve: (bytes) => new Part(take, bytes),
  };
}

class Part implements BudgetShare {
  readonly #take: (bytes: number) => void;
  #own = 0;

  constructor(take: (bytes: number) => void, bytes: number) {
    this.#take = take;
    this.grow(bytes);
  }

  grow(toBytes: number): void {
    if (toBytes <= this.#own) return;
    this.#take(toBytes - this.#own);
    this.#own = toBytes;
  }

  [Symbol.dispose](): void {
    this.#take(-this.#own);
    this.#own = 0;
  }
}
