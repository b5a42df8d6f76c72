import type { Clock } from "@longshore/core";
import { budgetDay, limitsOf, type Meter, meterRate, type QuotaRules, untilNextDayMs } from "./limits.ts";

/** Whether an amount was taken, or when there may be as much. */
export type TakeResult =
  | { readonly taken: true; readonly amount: number }
  | { readonly taken: false; readonly retryAfterMs: number; readonly why: string };

/** The allowances that tenants have left. */
export interface Allowances {
  /**
   * Takes an amount of a tenant's allowance, or less of it but at least `least` (default: all). An amount above the most that can be saved
   * up is taken once the allowance is full, and leaves a debt.
   */
  take(tenant: string, meter: Meter, amount: number, least?: number): TakeResult | Promise<TakeResult>;
  /**
   * Takes more, whatever is left, or gives back (negative): the difference between the use of a request and the amount taken
   * for it.
   */
  charge(tenant: string, meter: Meter, amount: number): void;
}

/** The amount spent on a day, kept over a restart. */
export interface SpentMicros {
  /** Days since 1970, UTC. */
  readonly day: number;
  readonly micros: number;
}

/** Where what was spent outlives a restart. */
export interface BudgetShelf {
  readonly before: ReadonlyMap<string, SpentMicros>;
  save(spent: ReadonlyMap<string, SpentMicros>): void;
}

/** Share of a day's budget that a process stores as spent in advance. After a crash, at most this much counts as spent but was not. */
const claimedRatio = 1 / 64;
/** Share above which a stored claim is stored again, lower. */
const mostClaimedRatio = 4 * claimedRatio;
/** Tenants whose state is remembered; of an idle one nothing is lost but a debt of less than a second. */
const mostTenants = 100_000;

interface Level {
  /** Of a rate: the amount taken, less what the rate has given back since. */
  used: number;
  atMs: number;
  day: number;
  /** Micros that the shelf has as spent. */
  claimed: number;
}

/** When to retry after a limit of requests under way, in milliseconds. */
const soonMs = 100;

/**
 * Allowances as token buckets in this process: each refills at its rate up to half a second's worth, and the budget of a day is
 * full again at midnight UTC. The excess over a limit in any time is at most that half second, and the use of runs that began
 * within the limit beyond the amount taken for them.
 */
export class LocalAllowances implements Allowances {
  readonly #rules: () => QuotaRules;
  readonly #clock: Clock;
  readonly #shelf: BudgetShelf | undefined;
  readonly #levels = new Map<string, Level>();

  constructor(rules: () => QuotaRules, clock: Clock, shelf?: BudgetShelf) {
    this.#rules = rules;
    this.#clock = clock;
    this.#shelf = shelf;
  }

  take(tenant: string, meter: Meter, amount: number, least: number = amount): TakeResult {
    const found = this.#level(tenant, meter);
    if (!found) return { taken: true, amount };
    const { level, rate } = found;
    const left = rate.most - level.used;
    // An amount of a rate above the most that it saves up is taken when all of that is there.
    const needed = rate.perMs > 0 ? Math.min(least, rate.most) : least;
    if (left >= needed - 1e-9) {
      const taken = least === amount ? amount : Math.min(amount, left);
      level.used += taken;
      this.#claim(meter, level, rate.most);
      return { taken: true, amount: taken };
    }
    return {
      taken: false,
      retryAfterMs: this.#retryMs(meter, rate.perMs, needed - left),
      why: `the limit of ${rate.words}`,
    };
  }

  #retryMs(meter: Meter, perMs: number, missing: number): number {
    if (meter === "concurrency") return soonMs;
    return perMs > 0 ? Math.ceil(missing / perMs) : untilNextDayMs(this.#clock.wallMs());
  }

  charge(tenant: string, meter: Meter, amount: number): void {
    const found = this.#level(tenant, meter);
    if (!found) return;
    found.level.used = Math.max(0, found.level.used + amount);
    this.#claim(meter, found.level, found.rate.most);
  }

  /** The amount left now; undefined without a limit. */
  left(tenant: string, meter: Meter): number | undefined {
    const found = this.#level(tenant, meter);
    return found && found.rate.most - found.level.used;
  }

  /** Writes what was spent, to the micro. */
  close(): void {
    this.#save(false);
  }

  #level(
    tenant: string,
    meter: Meter,
  ): { readonly level: Level; readonly rate: NonNullable<ReturnType<typeof meterRate>> } | undefined {
    const rate = meterRate(limitsOf(this.#rules(), tenant), meter);
    if (!rate) return undefined;
    const key = `${meter} ${tenant}`;
    const nowMs = this.#clock.nowMs();
    const day = budgetDay(this.#clock.wallMs());
    let level = this.#levels.get(key);
    if (!level) {
      const before = meter === "micros" ? this.#shelf?.before.get(tenant) : undefined;
      const used = before?.day === day ? before.micros : 0;
      level = { used, atMs: nowMs, day, claimed: used };
      if (this.#levels.size >= mostTenants) this.#forgetOne(day);
      this.#levels.set(key, level);
    } else if (meter === "micros") {
      if (level.day !== day) Object.assign(level, { used: 0, day, claimed: 0 });
    } else {
      level.used = Math.max(0, level.used - (nowMs - level.atMs) * rate.perMs);
      level.atMs = nowMs;
    }
    return { level, rate };
  }

  /** Forgets the level that was known longest, but no budget of today and no requests under way: these would be free again. */
  #forgetOne(day: number): void {
    for (const [key, level] of this.#levels) {
      if (key.startsWith("micros ") && level.day === day) continue;
      if (key.startsWith("concurrency ") && level.used > 0) continue;
      this.#levels.delete(key);
      return;
    }
  }

  #claim(meter: Meter, level: Level, most: number): void {
    if (meter !== "micros" || !this.#shelf) return;
    const spent = level.used;
    // A claim that holds much more than was spent was for requests that have ended.
    if (spent <= level.claimed && level.claimed - spent <= mostClaimedRatio * most) return;
    level.claimed = spent + most * claimedRatio;
    this.#save(true);
  }

  #save(ahead: boolean): void {
    if (!this.#shelf) return;
    // Tenants that have not come since the start spent what they had before.
    const spent = new Map<string, SpentMicros>(this.#shelf.before);
    for (const [key, { day, used, claimed }] of this.#levels) {
      if (!key.startsWith("micros ")) continue;
      spent.set(key.slice("micros ".length), { day, micros: ahead ? Math.max(claimed, used) : used });
    }
    this.#shelf.save(spent);
  }
}
