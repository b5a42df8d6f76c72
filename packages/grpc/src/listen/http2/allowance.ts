import type { Clock } from "@longshore/core";

/** Events that one connection may cause at once. */
const atOnce = 1000;
/** Events that it may cause each second beyond that. */
const perSecond = 33;

/**
 * How often a client of one connection may do what costs work for nothing: break off calls, or have them broken off, and
 * change its settings, or send frames that are no part of a call (RFC 9113, 10.5).
 */
export class Allowance {
  readonly #clock: Clock;
  #left = atOnce;
  #atMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#atMs = clock.nowMs();
  }

  /** Gives back what was used: the client has done something of use. */
  refill(): void {
    this.#left = atOnce;
  }

  /** False when it is used up. */
  spend(): boolean {
    const nowMs = this.#clock.nowMs();
    this.#left = Math.min(atOnce, this.#left + ((nowMs - this.#atMs) / 1000) * perSecond) - 1;
    this.#atMs = nowMs;
    return this.#left >= 0;
  }
}
