import { type Clock, type EndpointId, LongshoreError } from "../../words/base/index.ts";
import type { EndpointState } from "../endpoints/index.ts";
import { leastLostMs, type Running } from "../race/index.ts";

/*
 * A request that a proxy carries has no guard, and its end is all that a picker hears of it. A server that hangs answers nothing, refuses
 * nothing, and looks idle once its requests have taken their usual time. So silence counts: an endpoint with requests under way that has
 * answered nothing for longer than its answers usually take is taken to hang. What is under way there shows when it is back, so
 * that it needs few new requests.
 */

/** Watches endpoints with requests under way. */
export interface SilenceWatch extends Disposable {
  began(running: Running): void;
  /** It has ended. `heard`: its endpoint has answered it. Returns whether the endpoint was silent meanwhile: its time says nothing of a run. */
  ended(running: Running, heard: boolean): boolean;
}

/** A request is tried at a silent endpoint after this time, in milliseconds; doubled with each that is not answered either. */
const firstTryMs = 1000;
/** How often it doubles at most. */
const mostDoubled = 5;
/** A timer that is later than this was held up, as its process was: what has arrived meanwhile is read first. In milliseconds. */
const heldUpMs = 5;

/** Starts without requests. */
export function silenceWatch(clock: Clock): SilenceWatch {
  const watched = new Map<EndpointId, WatchedEndpoint>();
  return {
    began(running) {
      const { endpoint, leg } = running;
      if (!endpoint) return;
      const found = watched.get(leg.endpoint) ?? new WatchedEndpoint(clock, endpoint);
      watched.set(leg.endpoint, found);
      found.began(running);
    },
    ended(running, heard) {
      const found = watched.get(running.leg.endpoint);
      if (!found) return false;
      const wasStuck = found.ended(running, heard);
      if (!found.isBusy) watched.delete(running.leg.endpoint);
      return wasStuck;
    },
    [Symbol.dispose]() {
      for (const one of watched.values()) one[Symbol.dispose]();
      watched.clear();
    },
  };
}

/** One timer for each endpoint, whatever its requests. */
class WatchedEndpoint implements Disposable {
  readonly #clock: Clock;
  readonly #state: EndpointState;
  /** In the order in which they began. */
  readonly #running = new Set<Running>();
  #timer: Disposable | undefined;
  #dueMs = 0;
  /** Those that were under way when a silence ended. */
  readonly #stuck = new Set<Running>();
  #heardAtMs = -Infinity;
  #isSilent = false;
  /** Requests in a row that were tried while it was silent. */
  #tries = 0;

  constructor(clock: Clock, state: EndpointState) {
    this.#clock = clock;
    this.#state = state;
  }

  began(running: Running): void {
    this.#running.add(running);
    if (this.#isSilent) {
      this.#tries++;
      this.#pause(running.startedMs);
    } else if (!this.#timer) this.#look(this.#leftMs(this.#clock.nowMs()));
  }

  get isBusy(): boolean {
    return this.#running.size > 0;
  }

  ended(running: Running, heard: boolean): boolean {
    if (heard && this.#isSilent) for (const one of this.#running) this.#stuck.add(one);
    this.#running.delete(running);
    if (heard) {
      this.#heardAtMs = this.#clock.nowMs();
      this.#isSilent = false;
    }
    if (!this.isBusy) this[Symbol.dispose]();
    return this.#stuck.delete(running);
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }

  /** How long it may still be silent; 0 if it was for too long. */
  #leftMs(nowMs: number): number {
    const [oldest] = this.#running;
    const { record, health, tries } = this.#state;
    // The first requests of a new endpoint may wait for a model that is loaded.
    if (!oldest || !(record.proven || health.failing)) return Infinity;
    const mostMs = Math.max(leastLostMs, tries.lateness.beyondMs(oldest.usualMs));
    return Math.max(0, mostMs - (nowMs - Math.max(oldest.startedMs, this.#heardAtMs)));
  }

  #look(inMs: number): void {
    this.#timer = undefined;
    if (inMs === Infinity) return;
    this.#dueMs = this.#clock.nowMs() + inMs;
    this.#timer = this.#clock.timer(inMs, () => this.#looked());
  }

  #looked(): void {
    const nowMs = this.#clock.nowMs();
    const leftMs = this.#leftMs(nowMs);
    const lateMs = nowMs - this.#dueMs;
    if (leftMs > 0) return this.#look(leftMs);
    if (lateMs > heldUpMs) return this.#look(Math.min(lateMs, 10 * leastLostMs));
    this.#timer = undefined;
    this.#isSilent = true;
    this.#tries = 0;
    this.#pause(nowMs);
  }

  #pause(nowMs: number): void {
    const { endpoint, outcomes } = this.#state;
    const { id } = endpoint.info;
    const error = new LongshoreError("no-answer", "execute", `${id} has answered nothing for too long`, {
      endpoint: id,
      retryAfterMs: firstTryMs * 2 ** Math.min(mostDoubled, this.#tries),
    });
    // As after a poll without an answer: nothing shows that runs fail there, which would be charged long after it is back.
    outcomes.failed(error, nowMs, true);
  }
}
