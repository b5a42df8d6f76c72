import type { Clock } from "@longshore/core";

/** An exchange that is watched for silence. */
export interface WatchedExchange {
  /** Bytes that were written to the socket. */
  written(): number;
  /** Nothing has moved for too long. */
  silent(): void;
}

/**
 * Watches one exchange: calls `silent` once nothing has come and nothing more was written for `limitMs`. One timer is armed at a
 * time and looks back when it fires, so that busy exchanges do not arm a timer for each chunk. Dispose it when the exchange ends.
 */
export class Silence implements Disposable {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #exchange: WatchedExchange;
  #movedMs: number;
  #written = 0;
  #held = false;
  #timer: Disposable;

  constructor(clock: Clock, limitMs: number, exchange: WatchedExchange) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#exchange = exchange;
    this.#movedMs = clock.nowMs();
    this.#timer = clock.timer(limitMs, this.#look);
  }

  /** Something came. */
  moved(): void {
    this.#movedMs = this.#clock.nowMs();
  }

  /** The reader takes its time from now on, or no more: the other side is not the silent one. */
  held(since: boolean): void {
    this.#held = since;
    this.moved();
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
  }

  readonly #look = (): void => {
    const now = this.#exchange.written();
    if (now !== this.#written || this.#held) {
      this.#written = now;
      this.moved();
    }
    const leftMs = this.#movedMs + this.#limitMs - this.#clock.nowMs();
    if (leftMs <= 0) this.#exchange.silent();
    else this.#timer = this.#clock.timer(leftMs, this.#look);
  };
}
