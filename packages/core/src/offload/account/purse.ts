/**
 * The budget that one request has left under its `maxCostMicros`. Before it starts, a leg holds the most it may cost. When it ends, it pays its
 * real cost. Spent and held amounts together never exceed the limit, over all legs, plans, confirmations and retries of the request.
 * Unknown prices are not held: an endpoint without a price gets no hold.
 */
export class Purse {
  readonly limitMicros: number;
  #spentMicros = 0;
  #heldMicros = 0;

  constructor(limitMicros: number) {
    this.limitMicros = limitMicros;
  }

  /** The amount that may still be held. */
  get leftMicros(): number {
    return Math.max(0, this.limitMicros - this.#spentMicros - this.#heldMicros);
  }

  /** Whether a leg that may cost `mostMicros` may start. */
  affords(mostMicros: number): boolean {
    // Sums of parts that were planned together differ in their last digits.
    return mostMicros <= this.leftMicros + this.limitMicros * 1e-12;
  }

  /** Reserves `mostMicros`. Undefined if less is left. */
  hold(mostMicros: number): Hold | undefined {
    if (!this.affords(mostMicros)) return undefined;
    const held = Math.min(mostMicros, this.leftMicros);
    this.#heldMicros += held;
    let open = true;
    return {
      mostMicros: held,
      pay: (micros) => {
        if (!open) return 0;
        open = false;
        const paid = Math.min(micros, held);
        this.#heldMicros -= held;
        this.#spentMicros += paid;
        return paid;
      },
    };
  }
}

/** The amount that one leg may spend. */
export interface Hold {
  readonly mostMicros: number;
  /** Ends the hold, and returns what is charged: `micros`, at most what was held. A second call charges nothing. */
  pay(micros: number): number;
}
