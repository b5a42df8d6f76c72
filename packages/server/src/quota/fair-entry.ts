import { type Call, type Clock, LongshoreError } from "@longshore/core";
import { untilEnded } from "@longshore/core/internal";

/** Requests that wait, for each that may be under way. */
const waitingRatio = 4;

interface Tenant {
  held: number;
  readonly waiting: (() => void)[];
}

/**
 * Shares a number of requests under way among tenants: while it is not reached, all may begin; when it is, the next to begin is
 * of the tenant with the least under way for its weight (max-min fairness of slots). A tenant that sends little waits for one
 * request of others to end, and never for the queue of a tenant that sends much.
 */
export class FairEntry {
  readonly #most: () => number;
  readonly #weightOf: (tenant: string) => number;
  readonly #clock: Clock;
  readonly #tenants = new Map<string, Tenant>();
  #held = 0;
  #waiting = 0;

  constructor(most: () => number, weightOf: (tenant: string) => number, clock: Clock) {
    this.#most = most;
    this.#weightOf = weightOf;
    this.#clock = clock;
  }

  /** Resolves when the request may begin; dispose of what it gives when the request ended. Throws `tenant-limit`, and the call's end. */
  async enter(call: Call): Promise<Disposable> {
    const { tenant: name } = call;
    const tenant = this.#tenants.get(name) ?? { held: 0, waiting: [] };
    this.#tenants.set(name, tenant);
    if (this.#held < this.#most() && this.#waiting === 0) return this.#begin(name, tenant);
    // Each tenant has a queue of its own: a flood of one turns no other away.
    const room = Math.max(1, (waitingRatio * this.#most()) / this.#tenants.size);
    if (tenant.waiting.length >= room) {
      throw new LongshoreError(
        "tenant-limit",
        "admission",
        `tenant ${name} has ${tenant.waiting.length} requests waiting, as many as may`,
        { retryAfterMs: 100 },
      );
    }
    let start = (): void => undefined;
    const turn = new Promise<Disposable>((resolve) => {
      start = () => resolve(this.#begin(name, tenant));
    });
    tenant.waiting.push(start);
    this.#waiting++;
    try {
      return await untilEnded(turn, call, this.#clock, "queue");
    } catch (thrown) {
      const at = tenant.waiting.indexOf(start);
      if (at >= 0) {
        tenant.waiting.splice(at, 1);
        this.#waiting--;
        if (tenant.held === 0 && tenant.waiting.length === 0) this.#tenants.delete(name);
      } else void turn.then((held) => held[Symbol.dispose]());
      throw thrown;
    }
  }

  #begin(name: string, tenant: Tenant): Disposable {
    tenant.held++;
    this.#held++;
    let over = false;
    return {
      [Symbol.dispose]: () => {
        if (over) return;
        over = true;
        tenant.held--;
        this.#held--;
        this.#next();
        if (tenant.held === 0 && tenant.waiting.length === 0) this.#tenants.delete(name);
      },
    };
  }

  #next(): void {
    while (this.#held < this.#most() && this.#waiting > 0) {
      let best: { readonly tenant: Tenant; readonly share: number } | undefined;
      for (const [name, tenant] of this.#tenants) {
        if (tenant.waiting.length === 0) continue;
        const share = tenant.held / Math.max(1e-6, this.#weightOf(name));
        if (!best || share < best.share) best = { tenant, share };
      }
      const start = best?.tenant.waiting.shift();
      if (!start) return;
      this.#waiting--;
      start();
    }
  }
}
