import type { Clock } from "@longshore/core";

/** Calls that a client may break off at once, and how many more each second. */
const atOnce = 1000;
const perSecond = 33;

/** How often a client of one connection may break off calls, or have them broken off: each has cost work for nothing. */
export class ResetBudget {
  readonly #clock: Clock;
  #left = atOnce;
  #atMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#atMs = clock.nowMs();
  }

  /** False when it is used up. */
  spend(): boolean {
    const nowMs = this.#clock.nowMs();
    this.#left = Math.min(atOnce, this.#left + ((nowMs - this.#atMs) / 1000) * perSecond) - 1;
    this.#atMs = nowMs;
    return this.#left >= 0;
  }
}
