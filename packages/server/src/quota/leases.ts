/**
 * Limits that several gateways share. One server, the directory server, has the allowances; the others lease amounts of them
 * ahead and spend these without a request. Leased amounts are already taken from the allowances, so together the gateways
 * exceed a limit by no more than one server alone would. A gateway that ends or is cut off wastes at most its lease.
 */
import { type Clock, LongshoreError } from "@longshore/core";
import type { Allowances, LocalAllowances, TakeResult } from "./allowances.ts";
import { heldSlots, LeasedSlots } from "./leased-slots.ts";
import { awayWords, type LeaseReply, type LeaseRequest, pauseMs, unlimitedMs } from "./lease-messages.ts";
import { budgetDay, type Meter, meters } from "./limits.ts";

/** The side that has the allowances. */
export interface AllowanceLeases {
  /** Throws `invalid-input`. */
  lease(request: unknown): LeaseReply;
  /** The allowances for the requests that come to this server itself, which takes turns with the gateways that lease. */
  readonly own: Allowances;
}

/** The largest share of the rest that one lease may be beyond the immediate need: other gateways want some, too. */
const leasedRatio = 1 / 4;

function isAmount(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value < Number.MAX_VALUE;
}

function requestFrom(value: unknown): LeaseRequest {
  const bad = (why: string): LongshoreError =>
    new LongshoreError("invalid-input", "decode", `a request for a lease ${why}`);
  if (typeof value !== "object" || value === null) throw bad("is an object");
  const { schemaVersion, holder, tenant, meter, needed, wanted, owed, ...rest } = value as Record<
    string,
    unknown
  >;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw bad(`has no '${unknown.slice(0, 100)}'`);
  if (schemaVersion !== 1) throw bad("has schemaVersion 1");
  if (typeof holder !== "string" || !/^[A-Za-z0-9._-]{1,128}$/.test(holder)) throw bad("names its holder");
  if (typeof tenant !== "string" || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(tenant))
    throw bad("names a tenant");
  const known = meters.find((one) => one === meter);
  if (!known) throw bad(`names a meter: ${meters.join(", ")}`);
  if (!isAmount(needed) || !isAmount(wanted) || !isAmount(owed)) throw bad("has amounts of 0 or more");
  return { schemaVersion: 1, holder, tenant, meter: known, needed, wanted, owed };
}

/** How much longer than announced the turn of a refused holder is kept for it, in milliseconds. */
const turnMs = 100;

/** The turn kept for a refused holder until its next request. */
interface Turn {
  readonly holder: string;
  readonly needed: number;
  readonly untilMs: number;
}

/** The holder of what this server takes for its own requests. */
const ownHolder = "";

/** Leases out of allowances of this process. Holders that were refused get their turns in order, so that none starves. */
export function createAllowanceLeases(allowances: LocalAllowances, clock: Clock): AllowanceLeases {
  const turns = new Map<string, readonly Turn[]>();

  /** Takes for a holder what the turns of others before it leave: `needed`, and of the rest no more than a share up to `wanted`. */
  const take = (holder: string, tenant: string, meter: Meter, needed: number, wanted: number): TakeResult => {
    const left = allowances.left(tenant, meter);
    if (left === undefined) return { taken: true, amount: needed };
    const key = `${meter} ${tenant}`;
    const queue = (turns.get(key) ?? []).filter(({ untilMs }) => untilMs >= clock.nowMs());
    const position = queue.findIndex((one) => one.holder === holder);
    const ahead = position < 0 ? queue : queue.slice(0, position);
    const kept = ahead.reduce((sum, one) => sum + one.needed, 0);
    const share = (left - kept) * leasedRatio;
    const amount = Math.max(needed, Math.min(wanted, meter === "concurrency" ? Math.floor(share) : share));
    const answer = allowances.take(tenant, meter, amount + kept);
    if (answer.taken) {
      if (kept > 0) allowances.charge(tenant, meter, -kept);
      const others = queue.filter((one) => one.holder !== holder);
      if (others.length > 0) turns.set(key, others);
      else turns.delete(key);
      return { taken: true, amount };
    }
    // The rest of a day's budget is for instances that need no more.
    if (meter === "micros") return answer;
    const turn = { holder, needed, untilMs: clock.nowMs() + answer.retryAfterMs + turnMs };
    turns.set(key, position < 0 ? [...queue, turn] : queue.with(position, turn));
    return answer;
  };

  const slots = heldSlots(clock, {
    take: (holder, tenant, needed, wanted) => take(holder, tenant, "concurrency", needed, wanted),
    giveBack: (tenant, count) => allowances.charge(tenant, "concurrency", -count),
  });
  return {
    lease(value) {
      const { holder, tenant, meter, needed, wanted, owed } = requestFrom(value);
      if (allowances.left(tenant, meter) === undefined) return { schemaVersion: 1, granted: null };
      if (meter === "concurrency") return slots.lease(holder, tenant, needed, wanted);
      if (owed > 0) allowances.charge(tenant, meter, owed);
      const answer = take(holder, tenant, meter, needed, wanted);
      if (answer.taken) return { schemaVersion: 1, granted: answer.amount };
      const { retryAfterMs, why } = answer;
      return { schemaVersion: 1, granted: 0, retryAfterMs, why };
    },
    own: {
      take(tenant, meter, amount, least = amount) {
        if (meter === "micros") return allowances.take(tenant, meter, amount, least);
        if (meter === "concurrency") slots.expire(tenant);
        return take(ownHolder, tenant, meter, amount, amount);
      },
      charge: (tenant, meter, amount) => allowances.charge(tenant, meter, amount),
    },
  };
}

/** How much ahead a gateway leases, in milliseconds of what it used of late. */
const aheadMs = 100;
const mostKeys = 100_000;

interface Leased {
  left: number;
  /** Recent use per millisecond. */
  pace: number;
  usedAtMs: number;
  /** No request is sent before. */
  refusedUntilMs: number;
  why: string;
  asking: Promise<void> | undefined;
  unlimitedUntilMs: number;
  /** Day of the leased budget, in days since 1970, UTC. */
  day: number;
}

/** How fast the pace forgets, in milliseconds. */
const paceMs = 500;

/** Allowances that are leased from a server elsewhere. */
export class LeasedAllowances implements Allowances {
  readonly #ask: (request: LeaseRequest) => Promise<LeaseReply>;
  readonly #clock: Clock;
  readonly #leases = new Map<string, Leased>();
  readonly #slots: LeasedSlots;
  readonly #holder: string;

  /** @param ask Sends a request to the server that has the allowances; rejects when it does not answer. */
  constructor(holder: string, ask: (request: LeaseRequest) => Promise<LeaseReply>, clock: Clock) {
    this.#holder = holder;
    this.#ask = ask;
    this.#clock = clock;
    this.#slots = new LeasedSlots(holder, ask, clock);
  }

  /** Sends nothing any more. */
  close(): void {
    this.#slots.close();
  }

  take(
    tenant: string,
    meter: Meter,
    amount: number,
    least: number = amount,
  ): TakeResult | Promise<TakeResult> {
    if (meter === "concurrency") return this.#slots.take(tenant);
    const leased = this.#of(tenant, meter);
    return this.#taken(leased, amount, least) ?? this.#more(leased, tenant, meter, amount, least);
  }

  charge(tenant: string, meter: Meter, amount: number): void {
    if (meter === "concurrency") this.#slots.giveBack(tenant);
    else this.#use(this.#of(tenant, meter), amount);
  }

  #isUnlimited(leased: Leased): boolean {
    return this.#clock.nowMs() < leased.unlimitedUntilMs;
  }

  #taken(leased: Leased, amount: number, least: number): TakeResult | undefined {
    const unlimited = this.#isUnlimited(leased);
    if (!unlimited && leased.left < least) return undefined;
    const taken = unlimited ? amount : Math.min(amount, leased.left);
    this.#use(leased, taken);
    return { taken: true, amount: taken };
  }

  #of(tenant: string, meter: Meter): Leased {
    const key = `${meter} ${tenant}`;
    const found = this.#leases.get(key);
    const day = budgetDay(this.#clock.wallMs());
    if (found) {
      // A lease of yesterday's budget ends with the day.
      if (meter === "micros" && found.day !== day)
        Object.assign(found, { left: Math.min(0, found.left), day });
      return found;
    }
    const [oldest] = this.#leases.keys();
    if (this.#leases.size >= mostKeys && oldest !== undefined) this.#leases.delete(oldest);
    const made: Leased = {
      left: 0,
      pace: 0,
      usedAtMs: this.#clock.nowMs(),
      refusedUntilMs: -Infinity,
      why: "",
      asking: undefined,
      unlimitedUntilMs: -Infinity,
      day,
    };
    this.#leases.set(key, made);
    return made;
  }

  #use(leased: Leased, amount: number): void {
    if (this.#isUnlimited(leased)) return;
    const nowMs = this.#clock.nowMs();
    leased.left -= amount;
    leased.pace = leased.pace * Math.exp((leased.usedAtMs - nowMs) / paceMs) + Math.max(0, amount) / paceMs;
    leased.usedAtMs = nowMs;
  }

  async #more(
    leased: Leased,
    tenant: string,
    meter: Meter,
    amount: number,
    least: number,
  ): Promise<TakeResult> {
    // Of those that wait, each may find that the others have taken what came.
    for (let tries = 0; tries < 3; tries++) {
      const nowMs = this.#clock.nowMs();
      if (nowMs < leased.refusedUntilMs) {
        return { taken: false, retryAfterMs: leased.refusedUntilMs - nowMs, why: leased.why };
      }
      await (leased.asking ??= this.#lease(leased, tenant, meter, amount, least));
      const taken = this.#taken(leased, amount, least);
      if (taken) return taken;
    }
    return { taken: false, retryAfterMs: aheadMs, why: leased.why || "a limit that several gateways share" };
  }

  async #lease(leased: Leased, tenant: string, meter: Meter, amount: number, least: number): Promise<void> {
    const owed = Math.max(0, -leased.left);
    const there = Math.max(0, leased.left);
    const needed = Math.max(0, least - there);
    const wanted = Math.max(needed, amount - there, leased.pace * aheadMs);
    try {
      const reply = await this.#ask({
        schemaVersion: 1,
        holder: this.#holder,
        tenant,
        meter,
        needed,
        wanted,
        owed,
      });
      if (reply.granted === null) leased.unlimitedUntilMs = this.#clock.nowMs() + unlimitedMs;
      leased.left += owed + (reply.granted ?? 0);
      if (reply.granted === 0 && needed > 0) {
        leased.refusedUntilMs = this.#clock.nowMs() + (reply.retryAfterMs ?? aheadMs);
        leased.why = reply.why ?? "a limit that several gateways share";
      }
    } catch {
      // The rest of the allowance is unknown without its server, so no request passes: the limit still holds.
      leased.refusedUntilMs = this.#clock.nowMs() + pauseMs;
      leased.why = awayWords;
    } finally {
      leased.asking = undefined;
    }
  }
}
