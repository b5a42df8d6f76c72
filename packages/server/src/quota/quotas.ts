/**
 * Limits of tenants, held where requests come in. Before its body is read, a request takes its known amounts (itself, its
 * bytes, the usual run time and price of the tenant's requests); when it has ended it pays the rest. A request never begins
 * when nothing is left, so a limit is exceeded by no more than the use of requests under way beyond their taken amounts. For
 * money not even that: the amount taken for a request becomes its `maxCostMicros`.
 */
import { type Call, type Clock, LongshoreError, type LongshoreEvent, type Observer } from "@longshore/core";
import { ownCall, untilAborted } from "@longshore/core/internal";
import type { Allowances, TakeResult } from "./allowances.ts";
import { FairEntry } from "./fair-entry.ts";
import { budgetDay, limitsOf, type Meter, type QuotaRules, untilNextDayMs } from "./limits.ts";

/** A request that was let in; dispose of it when the request, and its reply, has ended. */
export interface QuotaEntry extends Disposable {
  /** With what it may cost at most. */
  readonly call: Call;
  /**
   * The failure as its tenant sees it: `tenant-limit`, with when to retry, if the request found no endpoint within the part of the
   * budget that it could have. Otherwise the failure itself, as where the whole budget of a day is too small.
   */
  failed(error: LongshoreError): LongshoreError;
}

/** Limits of tenants at the entry of a server. */
export interface Quotas {
  /**
   * Lets a request in. Throws `tenant-limit` with the limit and when to retry.
   *
   * @param model The model of the request: models differ in time and price.
   * @param bytes Bytes of its body as they are announced; 0 where nothing is.
   */
  enter(call: Call, model: string, bytes: number): Promise<QuotaEntry>;
  /** Charges what requests used, by the events of the server. */
  readonly observer: Observer;
}

/** Inputs of `createQuotas`. */
export interface QuotaParts {
  readonly clock: Clock;
  readonly rules: () => QuotaRules;
  readonly allowances: Allowances;
  /** Share of a tenant when requests wait. Default 1 for all. */
  readonly weightOf?: (tenant: string) => number;
  /** The least cost of a request here, in micros. Default 0. */
  readonly leastMicros?: number;
}

/** The usual consumption of a tenant's requests for a model, learned from earlier ones. */
interface Usual {
  deviceMs: number;
  micros: number;
  mostMicros: number;
  /** How much more than usual a request may cost, because requests found no endpoint for less; 1 without such failures. */
  wider: number;
}

/** Weight of the newest request in what is usual, and how fast the dearest is forgotten. */
const learning = 0.1;
const forgetting = 0.01;
/** How much above the dearest request of late one may cost. */
const dearer = 8;
/** How much wider the bound of a request becomes after a request that found no endpoint within it, and how much of that a charge leaves. */
const widening = 4;
const narrowing = 0.9;
/** The share of a day's budget that a request of unknown price may cost while others of its tenant are under way; alone it may cost all. */
const unknownShare = 1 / 2;
/** Micros that are rounding. */
const nothing = 1e-9;
/** The longest wait for requests under way that hold the rest of a budget, and how many requests of a tenant wait. */
const mostWaitMs = 10_000;
const mostWaiting = 64;
/** When to retry while other requests hold what may be left of a budget. */
const soonMs = 100;
const mostUsual = 10_000;
const mostWider = 4096;

type Refused = Extract<TakeResult, { readonly taken: false }>;

class ServerQuotas implements Quotas {
  readonly #parts: QuotaParts;
  readonly #fair: FairEntry;
  readonly #held = new Map<string, number>();
  readonly #usual = new Map<string, Usual>();
  /** Requests that wait until one of their tenant ends, because those under way hold the rest of the budget. */
  readonly #waiting = new Map<string, Set<() => void>>();
  /** Micros set aside for requests under way, by tenant. */
  readonly #reserved = new Map<string, number>();
  readonly observer: Observer = { record: (event) => this.#record(event) };

  constructor(parts: QuotaParts) {
    this.#parts = parts;
    this.#fair = new FairEntry(
      () => parts.rules().concurrency ?? Infinity,
      parts.weightOf ?? (() => 1),
      parts.clock,
    );
  }

  async enter(call: Call, model: string, bytes: number): Promise<QuotaEntry> {
    const { tenant } = call;
    const { rules, allowances } = this.#parts;
    const limits = limitsOf(rules(), tenant);
    const ends: (() => void)[] = [];
    const end = (): void => {
      for (const one of ends.splice(0).toReversed()) one();
    };
    const take = async (meter: Meter, amount: number, least = amount): Promise<number> => {
      const untilMs = this.#parts.clock.nowMs() + mostWaitMs;
      const asked = allowances.take(tenant, meter, amount, least);
      let answer = asked instanceof Promise ? await asked : asked;
      // Nothing at all is enough only for a server that is free.
      const isNone = (): boolean => !answer.taken || (answer.amount < nothing && amount >= nothing);
      if (meter === "micros") {
        while (isNone() && (await this.#oneEnded(call, least, untilMs)))
          answer = await allowances.take(tenant, meter, amount, least);
      }
      if (!answer.taken) throw this.#refusal(tenant, meter, answer);
      const { amount: taken } = answer;
      if (meter === "micros") this.#reserve(tenant, taken, ends);
      // At its end a request returns the amount and is charged for its real use. The request count stays, and yesterday's budget is over.
      const day = this.#day();
      if (meter !== "requests")
        ends.push(() => {
          if (meter !== "micros" || day === this.#day()) allowances.charge(tenant, meter, -taken);
        });
      return taken;
    };
    try {
      this.#hold(tenant, limits.concurrency, ends);
      if (limits.concurrency !== undefined) await take("concurrency", 1);
      if (limits.requestsPerSecond !== undefined) await take("requests", 1);
      if (limits.bytesPerSecond !== undefined) await take("bytes", bytes);
      const usual = this.#usualOf(tenant, model);
      if (limits.deviceSecondsPerMinute !== undefined) await take("device-ms", Math.max(1, usual.deviceMs));
      const own = ownCall(call);
      let failed = (error: LongshoreError): LongshoreError => error;
      if (limits.microsPerDay !== undefined) {
        const { maxCostMicros = Infinity } = call;
        const isAlone = usual.wider > 1 || (this.#held.get(tenant) ?? 0) <= 1;
        const share = limits.microsPerDay * (isAlone ? 1 : unknownShare);
        const usually = dearer * usual.mostMicros;
        const most = usual.mostMicros > 0 ? Math.max(usually, Math.min(share, usually * usual.wider)) : share;
        const { leastMicros = 0 } = this.#parts;
        const least = Math.min(maxCostMicros, Math.max(usual.micros, leastMicros, Number.MIN_VALUE));
        const asked = Math.max(least, Math.min(maxCostMicros, most));
        const bound = await take("micros", asked, least);
        own.maxCostMicros = bound;
        if (bound < Math.min(maxCostMicros, limits.microsPerDay)) {
          failed = (error) => {
            if (!isTooDear(error)) return error;
            widen(usual);
            return this.#beyondBudget(tenant, bound, bound < asked, error);
          };
        }
      }
      if (rules().concurrency !== undefined) {
        const turn = await this.#fair.enter(call);
        ends.push(() => turn[Symbol.dispose]());
      }
      return { call: own, failed, [Symbol.dispose]: end };
    } catch (thrown) {
      end();
      throw thrown;
    }
  }

  /** Where the budget has more left than the request could have, the next may cost more, and the client retries soon. */
  #beyondBudget(tenant: string, bound: number, isRest: boolean, cause: LongshoreError): LongshoreError {
    const waits = !isRest || (this.#held.get(tenant) ?? 0) > 1;
    const retryAfterMs = waits ? soonMs : untilNextDayMs(this.#parts.clock.wallMs());
    const { microsPerDay } = limitsOf(this.#parts.rules(), tenant);
    const why = `the limit of ${microsPerDay} micros a day, of which this request could have ${Number(bound.toPrecision(6))}: ${cause.message}`;
    return refusal(tenant, why, retryAfterMs, cause);
  }

  #refusal(tenant: string, meter: Meter, { why, retryAfterMs }: Refused): LongshoreError {
    const waits = meter === "micros" && (this.#held.get(tenant) ?? 0) > 1;
    return refusal(tenant, why, waits ? Math.min(soonMs, retryAfterMs) : retryAfterMs);
  }

  /** Days since 1970, UTC. */
  #day(): number {
    return budgetDay(this.#parts.clock.wallMs());
  }

  #hold(tenant: string, most: number | undefined, ends: (() => void)[]): void {
    const held = this.#held.get(tenant) ?? 0;
    if (most !== undefined && held >= most) {
      throw refusal(tenant, `the limit of ${most} requests under way`, soonMs);
    }
    this.#held.set(tenant, held + 1);
    ends.push(() => {
      const left = (this.#held.get(tenant) ?? 1) - 1;
      if (left > 0) this.#held.set(tenant, left);
      else this.#held.delete(tenant);
      const waiting = this.#waiting.get(tenant);
      this.#waiting.delete(tenant);
      for (const wake of waiting ?? []) wake();
    });
  }

  #reserve(tenant: string, micros: number, ends: (() => void)[]): void {
    this.#reserved.set(tenant, (this.#reserved.get(tenant) ?? 0) + micros);
    ends.push(() => {
      const left = (this.#reserved.get(tenant) ?? 0) - micros;
      if (left > 0) this.#reserved.set(tenant, left);
      else this.#reserved.delete(tenant);
    });
  }

  /**
   * Waits until a request of the tenant ends, if what is set aside for those under way would do. False if not, or when the time is over. Throws
   * what the call ends with.
   */
  async #oneEnded({ tenant, abort, deadlineMs }: Call, micros: number, untilMs: number): Promise<boolean> {
    const { clock } = this.#parts;
    const waiting = this.#waiting.get(tenant) ?? new Set();
    const leftMs = Math.min(untilMs, deadlineMs) - clock.nowMs();
    const mayDo = (this.#reserved.get(tenant) ?? 0) >= micros;
    if (!mayDo || waiting.size >= mostWaiting || leftMs <= 0) return false;
    this.#waiting.set(tenant, waiting);
    let wake: (ended: boolean) => void = () => undefined;
    const ended = new Promise<boolean>((resolve) => (wake = resolve));
    const one = (): void => wake(true);
    waiting.add(one);
    using _timer = clock.timer(leftMs, () => wake(false));
    try {
      return await untilAborted(ended, abort, "admission");
    } finally {
      waiting.delete(one);
    }
  }

  #usualOf(tenant: string, model: string): Usual {
    const key = `${tenant} ${model}`;
    const found = this.#usual.get(key);
    if (found) return found;
    const made = { deviceMs: 1, micros: 0, mostMicros: 0, wider: 1 };
    const [oldest] = this.#usual.keys();
    if (this.#usual.size >= mostUsual && oldest !== undefined) this.#usual.delete(oldest);
    this.#usual.set(key, made);
    return made;
  }

  #record(event: LongshoreEvent): void {
    if (event.kind === "cost-charged") {
      const { tenant, model, micros } = event;
      if (limitsOf(this.#parts.rules(), tenant).microsPerDay === undefined) return;
      const usual = this.#usualOf(tenant, model);
      usual.micros += (micros - usual.micros) * (usual.micros === 0 ? 1 : learning);
      usual.mostMicros = Math.max(micros, usual.mostMicros * (1 - forgetting));
      usual.wider = Math.max(1, usual.wider * narrowing);
      this.#parts.allowances.charge(tenant, "micros", micros);
    } else if (event.kind === "failure") {
      // Promises bound costs from above, so that all of them may lie above what requests have cost.
      const { reason, tenant, model } = event;
      if (reason !== "no-endpoint" || tenant === undefined || model === undefined) return;
      const usual = this.#usual.get(`${tenant} ${model}`);
      if (usual) widen(usual);
    } else if (event.kind === "inference-ended") {
      const { tenant, model, stages, receivedBytes, sentBytes } = event;
      const limits = limitsOf(this.#parts.rules(), tenant);
      if (limits.bytesPerSecond !== undefined) {
        this.#parts.allowances.charge(tenant, "bytes", receivedBytes + sentBytes);
      }
      if (limits.deviceSecondsPerMinute === undefined) return;
      const deviceMs = stages.reduce((sum, { stage, tookMs }) => (stage === "run" ? sum + tookMs : sum), 0);
      const usual = this.#usualOf(tenant, model);
      usual.deviceMs += (deviceMs - usual.deviceMs) * learning;
      this.#parts.allowances.charge(tenant, "device-ms", deviceMs);
    }
  }
}

function widen(usual: Usual): void {
  usual.wider = Math.min(mostWider, usual.wider * widening);
}

/** Whether a decision left no endpoint for now, and cost was among the reasons. */
function isTooDear({ reason, stage, retryAfterMs, message }: LongshoreError): boolean {
  const isLeft = reason === "no-endpoint" && stage === "plan" && retryAfterMs === undefined;
  return isLeft && message.includes("it could cost more than");
}

function refusal(tenant: string, why: string, retryAfterMs: number, cause?: LongshoreError): LongshoreError {
  const wait =
    retryAfterMs < 10_000 ? `${Math.ceil(retryAfterMs)} ms` : `${Math.ceil(retryAfterMs / 1000)} s`;
  const message = `tenant ${tenant} is at ${why}; retry in ${wait}`;
  return new LongshoreError("tenant-limit", "admission", message, { retryAfterMs, cause });
}

/** Limits of tenants over allowances. */
export function createQuotas(parts: QuotaParts): Quotas {
  return new ServerQuotas(parts);
}
