/**
 * Requests under way as a limit that several gateways share. A request holds its slot until it ends, so a slot is not an amount that is
 * spent: a gateway states how many it needs now, and the server that has the limits replies how many it may have. The statement is
 * absolute, so that a lost message or reply changes nothing, and it is repeated while slots are held; those of a gateway that says
 * nothing for some seconds are free again.
 */
import type { Clock } from "@longshore/core";
import type { TakeResult } from "./allowances.ts";
import { awayWords, type LeaseReply, type LeaseRequest, pauseMs, unlimitedMs } from "./lease-messages.ts";

/** How often a gateway repeats how many it holds, in milliseconds. */
const repeatMs = 1000;
/** After how much silence the slots of a gateway are free again, in milliseconds. */
const silentMs = 5000;
/** When a gateway sends the next statement after a refusal, in milliseconds. Its turn is kept for longer than that. */
const againMs = 25;
/** The part of its slots that a gateway keeps unused, so that it need not send a message for each request. */
const spareRatio = 1 / 4;

interface Held {
  count: number;
  heardAtMs: number;
}

/** The slots that gateways hold, at the server that has the limits. */
export interface HeldSlots {
  lease(holder: string, tenant: string, needed: number, wanted: number): LeaseReply;
  /** Frees those of gateways that have been silent. */
  expire(tenant: string): void;
}

/** @param limit Takes so many of a tenant's slots for a holder, and gives them back. */
export function heldSlots(
  clock: Clock,
  limit: {
    take(holder: string, tenant: string, needed: number, wanted: number): TakeResult;
    giveBack(tenant: string, count: number): void;
  },
): HeldSlots {
  const tenants = new Map<string, Map<string, Held>>();
  const expire = (tenant: string): void => {
    const holders = tenants.get(tenant);
    if (!holders) return;
    for (const [holder, { count, heardAtMs }] of holders) {
      if (clock.nowMs() - heardAtMs < silentMs) continue;
      holders.delete(holder);
      limit.giveBack(tenant, count);
    }
    if (holders.size === 0) tenants.delete(tenant);
  };
  return {
    expire,
    lease(holder, tenant, needed, wanted) {
      expire(tenant);
      const holders = tenants.get(tenant) ?? new Map<string, Held>();
      const held = holders.get(holder) ?? { count: 0, heardAtMs: 0 };
      const before = held.count;
      let refused: { readonly retryAfterMs: number; readonly why: string } | undefined;
      if (wanted < before) {
        held.count = wanted;
        limit.giveBack(tenant, before - wanted);
      } else if (needed > before) {
        let answer = limit.take(holder, tenant, needed - before, wanted - before);
        // Some of them are better than none.
        if (!answer.taken && needed - before > 1) answer = limit.take(holder, tenant, 1, wanted - before);
        if (answer.taken) held.count += answer.amount;
        if (held.count < needed) refused = { retryAfterMs: againMs, why: answer.taken ? "" : answer.why };
      }
      held.heardAtMs = clock.nowMs();
      if (held.count > 0) tenants.set(tenant, holders.set(holder, held));
      else holders.delete(holder);
      return { schemaVersion: 1, granted: held.count, ...refused };
    },
  };
}

interface Slots {
  inUse: number;
  granted: number;
  /** Whether the server may count more slots than are granted here, because it did not answer a statement. */
  unsure: boolean;
  readonly waiting: ((result: TakeResult) => void)[];
  asking: boolean;
  refusedUntilMs: number;
  unlimitedUntilMs: number;
  why: string;
  repeat: Disposable | undefined;
}

/** The slots of a gateway that leases. */
export class LeasedSlots {
  readonly #holder: string;
  readonly #ask: (request: LeaseRequest) => Promise<LeaseReply>;
  readonly #clock: Clock;
  readonly #tenants = new Map<string, Slots>();
  #closed = false;

  constructor(holder: string, ask: (request: LeaseRequest) => Promise<LeaseReply>, clock: Clock) {
    this.#holder = holder;
    this.#ask = ask;
    this.#clock = clock;
  }

  close(): void {
    this.#closed = true;
    for (const { repeat } of this.#tenants.values()) repeat?.[Symbol.dispose]();
  }

  take(tenant: string): TakeResult | Promise<TakeResult> {
    const slots = this.#of(tenant);
    const nowMs = this.#clock.nowMs();
    if (nowMs < slots.unlimitedUntilMs || slots.inUse < slots.granted) return began(slots);
    if (nowMs < slots.refusedUntilMs) return refused(slots, nowMs);
    return new Promise((resolve) => {
      slots.waiting.push(resolve);
      void this.#state(tenant, slots);
    });
  }

  giveBack(tenant: string): void {
    const slots = this.#of(tenant);
    slots.inUse = Math.max(0, slots.inUse - 1);
    if (hasTooMany(slots)) void this.#state(tenant, slots);
    else this.#forget(tenant, slots);
  }

  #of(tenant: string): Slots {
    let slots = this.#tenants.get(tenant);
    if (!slots) {
      slots = {
        inUse: 0,
        granted: 0,
        unsure: false,
        waiting: [],
        asking: false,
        refusedUntilMs: -Infinity,
        unlimitedUntilMs: -Infinity,
        why: "",
        repeat: undefined,
      };
      this.#tenants.set(tenant, slots);
    }
    return slots;
  }

  #forget(tenant: string, slots: Slots): void {
    const { inUse, granted, unsure, asking, refusedUntilMs, waiting } = slots;
    const isIdle = inUse === 0 && granted === 0 && !unsure && !asking && waiting.length === 0;
    if (isIdle && this.#clock.nowMs() >= refusedUntilMs) this.#tenants.delete(tenant);
  }

  /** States how many are needed, until the reply fits what is needed by then. */
  async #state(tenant: string, slots: Slots): Promise<void> {
    if (slots.asking || this.#closed) return;
    slots.asking = true;
    slots.repeat?.[Symbol.dispose]();
    do {
      const needed = slots.inUse + slots.waiting.length;
      const wanted = needed + Math.floor(needed * spareRatio);
      // From now on the server may give away what is not stated any more.
      slots.granted = Math.min(slots.granted, wanted);
      const request = {
        schemaVersion: 1,
        holder: this.#holder,
        tenant,
        meter: "concurrency",
        needed,
        wanted,
        owed: 0,
      } as const;
      try {
        this.#replied(slots, needed, await this.#ask(request));
      } catch {
        slots.unsure = true;
        this.#refuse(slots, pauseMs, awayWords);
        break;
      }
    } while (slots.waiting.length > 0 || hasTooMany(slots));
    slots.asking = false;
    if (slots.granted > 0 || slots.unsure)
      slots.repeat = this.#clock.timer(repeatMs, () => void this.#state(tenant, slots));
    else this.#forget(tenant, slots);
  }

  #replied(slots: Slots, needed: number, { granted, retryAfterMs = againMs, why }: LeaseReply): void {
    slots.unsure = false;
    const nowMs = this.#clock.nowMs();
    if (granted === null) slots.unlimitedUntilMs = nowMs + unlimitedMs;
    slots.granted = granted ?? 0;
    const free = granted === null ? slots.waiting.length : Math.max(0, granted - slots.inUse);
    for (const resolve of slots.waiting.splice(0, free)) resolve(began(slots));
    if (granted !== null && granted < needed)
      this.#refuse(slots, retryAfterMs, why || "a limit of requests under way that several gateways share");
  }

  #refuse(slots: Slots, forMs: number, why: string): void {
    const nowMs = this.#clock.nowMs();
    slots.refusedUntilMs = nowMs + forMs;
    slots.why = why;
    for (const resolve of slots.waiting.splice(0)) resolve(refused(slots, nowMs));
  }
}

/** Whether more are granted than are in use and kept. */
function hasTooMany({ granted, inUse }: Slots): boolean {
  return granted - inUse > Math.floor(granted * spareRatio);
}

function began(slots: Slots): TakeResult {
  slots.inUse++;
  return { taken: true, amount: 1 };
}

function refused({ refusedUntilMs, why }: Slots, nowMs: number): TakeResult {
  return { taken: false, retryAfterMs: refusedUntilMs - nowMs, why };
}
