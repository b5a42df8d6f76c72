import type { Clock } from "./clock.ts";

/**
 * What an answer teaches is taken in behind it: whoever waits for the answer does not wait for the books too. It is done as soon
 * as the event loop comes to it, in the order in which it came, and before that when somebody is about to look (`settle`).
 */
export class Behind<T> {
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
