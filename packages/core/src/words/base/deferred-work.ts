import type { Clock } from "./clock.ts";

/**
 * Defers the work that an answer teaches, so that the caller does not wait for it. The work runs at the event loop's next turn,
 * in the order in which it came, or earlier if a reader needs it (`settle`).
 */
export class DeferredWork<T> {
  readonly #clock: Clock;
  readonly #take: (one: T) => void;
  #waiting: T[] = [];

  /** @param take Takes one in; does not throw. */
  constructor(clock: Clock, take: (one: T) => void) {
    this.#clock = clock;
    this.#take = take;
  }

  add(one: T): void {
    if (this.#waiting.push(one) === 1) this.#clock.timer(0, this.settle);
  }

  /** Takes in all that waits, now. */
  readonly settle = (): void => {
    while (this.#waiting.length > 0) {
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const one of waiting) this.#take(one);
    }
  };
}
