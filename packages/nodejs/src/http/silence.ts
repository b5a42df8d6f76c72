import type { Clock } from "@longshore/core";

/** Watches one exchange for silence. Dispose it when the exchange ends. */
export interface Silence extends Disposable {
  /** Something came. */
  moved(): void;
  /** The reader takes its time from now on, or no more: the other side is not the silent one. */
  held(since: boolean): void;
}

/**
 * Calls `silent` once nothing has come and nothing more was written for `limitMs`. One timer is armed at a time and
 * looks back when it fires, so that busy exchanges do not arm a timer for each chunk.
 */
export function watchSilence(
  clock: Clock,
  limitMs: number,
  exchange: { written(): number; silent(): void },
): Silence {
  return new Watched(clock, limitMs, exchange);
}

class Watched implements Silence {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #exchange: Parameters<typeof watchSilence>[2];
  #movedMs: number;
  #written = 0;
  #held = false;
  #timer: Disposable;

  constructor(clock: Clock, limitMs: number, exchange: Parameters<typeof watchSilence>[2]) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#exchange = exchange;
    this.#movedMs = clock.nowMs();
    this.#timer = clock.timer(limitMs, this.#look);
  }

  moved(): void {
    this.#movedMs = this.#clock.nowMs();
  }

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
