import type { Call, Clock, Late } from "../../words/base/index.ts";
import { acknowledgeStep, type TransferNote } from "../../wire/transport/index.ts";
import { chanceBelow, type Estimate, estimateSize, left, shift, sum } from "../../words/estimate/index.ts";
import { isDear, planSecondRun, type SecondRunPlan, secondRunQuestion } from "../../decide/estimate/index.ts";
import type { Leg } from "../../decide/plan/index.ts";
import { hardlyMore } from "../../decide/table/index.ts";
import { type GuardTimes, leastLostMs } from "./guard-times.ts";
import type { EndpointState } from "../endpoints/index.ts";

/** Watches one remote leg and says when its back-up must start. Dispose it when the leg is over. */
export interface GuardWatch extends Disposable {
  /** The peer has that many bytes of the body. */
  acknowledged(bytes: number): void;
  /** What it started gave nothing: it may start something else, at once where the leg is still late or lost. Tells whether it did. */
  again(): boolean;
  /** Starts something at once that is expected to be far sooner. Tells whether it did. */
  sooner(): boolean;
}

/** What a watch needs. */
export interface GuardParts {
  readonly clock: Clock;
  readonly endpoint: EndpointState;
  readonly leg: Leg;
  readonly call: Call;
  /** Whether an extra run may be paid to be quicker; false: only to keep the deadline. Default true. */
  readonly hurries?: boolean;
  readonly times: GuardTimes;
  /** What the leg hardly ever takes where nobody waits before it; see `lateAloneMs`. */
  readonly aloneMs: number;
  /**
   * The same, and what waits at the endpoint. Where nothing is heard of the leg, and nothing else answered there, for longer than before
   * any of the last answers, the endpoint is taken to be silent and the request lost there. Default not known.
   */
  readonly usualMs?: number;
  /** What is left of its body's way, as its link believes; undefined where that hears nothing of it. */
  readonly way?: () => Pick<TransferNote, "remainingMs"> | undefined;
  /** Whether the body is still on its way here: nothing is late as long as it is, and its time counts from then on. Default never. */
  readonly waits?: () => boolean;
  /** Starts the back-up and tells whether it could: else it is asked again a little later. For what is not only late it is a retry. */
  readonly fire: (because: Late) => boolean;
}

/** What of a message that is expected stands in front of its body, about: it is not acknowledged. */
const headBytes = 900;

/** The moment is thought over at least this often while nothing is heard, in milliseconds: silence is evidence. */
const recheckMs = 20;
/** The same of a run here, which is worth most at the last moment at which it is in time. */
const recheckHereMs = 10;
/** Where a back-up could not start, it is asked again after so long: that takes a plan. */
const refusedMs = 100;
/** This process was held up where it looks later than it meant to by more than this: what came meanwhile is read first. */
const heldUpMs = 5;
/** A deadline counts as kept where it is missed no more often than a belief exceeds its last value. */
const missRatio = 1 / (2 * estimateSize);
/** A second run spends at least this much of the budget: a chance that is believed small may be believed wrongly. */
const leastSpent = 0.5;
/** Acknowledgements that come closer than this are taken together: asking a link takes a tenth of a millisecond. */
const restMs = 5;

/**
 * "Late" as a moment, computed again as acknowledgements arrive and as silence lasts. Until the whole body is
 * acknowledged the link's own belief says how long the rest takes; afterwards the endpoint is at work, and what is left is
 * its promised time less what has passed. Where no acknowledgements come, the time that passed is all there is to go by.
 *
 * A second run is priced by the books of its endpoint; when it begins is one formula (`planSecondRun`), before the answer is late
 * and after. One here begins when the device is idle or the turn of the request has come; a deadline that only the back-up can keep
 * does not wait for that.
 */
export function guardWatch(parts: GuardParts): GuardWatch {
  return new Watching(parts);
}

/** A class for the same reason as `Once`: every request that leaves has one. */
class Watching implements GuardWatch {
  readonly #parts: GuardParts;
  readonly #startedMs: number;
  /** From then on the endpoint is to blame for what the leg takes. */
  #beganMs: number;
  /** When it last took some of the body, which one that is silent does not. */
  #heardAtMs: number;
  /** What waits here by now, beyond what did when the latest moment was planned, would make the back-up miss the deadline. */
  readonly #plannedMs: number;
  /** Later than this it is lost where the endpoint has failed others meanwhile. */
  readonly #lateMs: number;
  /** And for so long an endpoint is not silent that is well. */
  readonly #silentMs: number;
  #keptBack: Disposable | undefined;
  #turn: Disposable | undefined;
  #timer: Disposable | undefined;
  #heardBytes = 0;
  #thoughtMs = -Infinity;
  #arrivedMs: number | undefined;
  #over = false;

  constructor(parts: GuardParts) {
    const { endpoint, leg, usualMs = Infinity } = parts;
    this.#parts = parts;
    this.#startedMs = this.#beganMs = this.#heardAtMs = parts.clock.nowMs();
    this.#plannedMs = parts.times.backUpMs();
    this.#lateMs = hardlyMore(leg.predicted.completionMs.values);
    // Who has just come may be cold; who failed and has answered nothing since is taken to be still gone.
    const known = endpoint.proven || endpoint.health.failing;
    this.#silentMs = known ? Math.max(leastLostMs, endpoint.lateness.beyondMs(usualMs)) : Infinity;
    this.#keepBack();
    this.#think();
    this.#keepTurn();
  }

  acknowledged(bytes: number): void {
    if (this.#over || bytes <= this.#heardBytes) return;
    const { endpoint, leg } = this.#parts;
    const bodyBytes = leg.predicted.sentBytes - headBytes;
    // The body as planned is an estimate: close to it counts as all of it.
    const all = bytes >= 0.98 * bodyBytes;
    // An endpoint that tells nothing is heard of once, with its answer.
    if (!all) endpoint.tells = true;
    else if (this.#heardBytes === 0 && bodyBytes > acknowledgeStep(bodyBytes)) endpoint.tells = false;
    this.#heardBytes = bytes;
    const nowMs = this.#parts.clock.nowMs();
    this.#heardAtMs = nowMs;
    if (this.#arrivedMs === undefined && all) {
      this.#arrivedMs = nowMs;
      this.#think();
    } else if (nowMs - this.#thoughtMs >= restMs) this.#think();
  }

  again(): boolean {
    if (!this.#over) return false;
    this.#over = false;
    this.#keepBack();
    this.#think();
    this.#keepTurn();
    return this.#over;
  }

  sooner(): boolean {
    const { clock, endpoint, fire } = this.#parts;
    if (this.#over || !fire("late")) return false;
    endpoint.books.spend(1, clock.nowMs());
    this[Symbol.dispose]();
    return true;
  }

  [Symbol.dispose](): void {
    this.#over = true;
    this.#keptBack?.[Symbol.dispose]();
    this.#turn?.[Symbol.dispose]();
    this.#turn = undefined;
    this.#timer?.[Symbol.dispose]();
  }

  /** Keeps the turn of the request at this device, for the run that may follow here. */
  #keepTurn(): void {
    const { times, hurries = true } = this.#parts;
    if (this.#over || !hurries) return;
    this.#turn ??= times.standBy?.(() => {
      this.#think();
      return this.#over;
    });
  }

  #keepBack(): void {
    const { call, times } = this.#parts;
    this.#keptBack?.[Symbol.dispose]();
    if (call.deadlineMs === Infinity) return;
    this.#keptBack = times.keepBack?.(call.deadlineMs, (longerMs) => this.#before(longerMs));
  }

  /** Tells whether something was started: then nothing is kept back any more. */
  #fire(because: Late): boolean {
    this.#over = this.#parts.fire(because);
    if (this.#over) {
      this.#keptBack?.[Symbol.dispose]();
      this.#turn?.[Symbol.dispose]();
      this.#turn = undefined;
    }
    return this.#over;
  }

  /** The remote completion from now, as believed now. */
  #remaining(nowMs: number): Estimate {
    const { leg, endpoint, times } = this.#parts;
    const { travels } = leg;
    const expected = leg.predicted.completionMs;
    if (!travels) return left(expected, nowMs - this.#beganMs);
    const last = shift(travels.downMs, times.afterMs);
    if (this.#arrivedMs !== undefined) return sum(left(travels.thereMs, nowMs - this.#arrivedMs), last);
    // Its own body is what a link believes most of. Where it was not told of that, it is asked once it passed some of it.
    const way = this.#tells() ? this.#parts.way?.() : undefined;
    const wayMs =
      way?.remainingMs(nowMs) ?? (this.#heardBytes > 0 && endpoint.link?.transferMs(0, "up", nowMs));
    if (!wayMs) return shift(left(expected, nowMs - this.#beganMs), times.afterMs);
    return sum(sum(wayMs, travels.thereMs), last);
  }

  /**
   * Whether a deadline that is `leftMs` away is kept as surely without a run here that begins now: by the answer, or by the run if it begins
   * at the next look and has `thenMs` then, where that is what it would take (`localMs`): else none begins.
   */
  #keptUntilNext(leftMs: number, thenMs: number, localMs: number, nowMs: number): boolean {
    const { lateRatio } = this.#parts.times;
    const lateChance = 1 - chanceBelow(this.#remaining(nowMs), leftMs);
    const runLate = localMs <= thenMs ? (lateRatio?.(thenMs) ?? 1) : 1;
    return lateChance * runLate <= missRatio;
  }

  /** Whether the link is asked how much of the body is there, so that it knows of its own silences. */
  #tells(): boolean {
    const { leg, endpoint } = this.#parts;
    const bodyBytes = leg.predicted.sentBytes - headBytes;
    const tells = this.#heardBytes > 0 || (endpoint.tells && bodyBytes > acknowledgeStep(bodyBytes));
    return tells && endpoint.link !== undefined;
  }

  /** For how long the endpoint has said nothing at all. */
  #silenceMs(nowMs: number): number {
    return nowMs - Math.max(this.#heardAtMs, this.#parts.endpoint.answeredAtMs);
  }

  /** Why nothing is to be hoped for any more; undefined while something is. */
  #lost(nowMs: number): Exclude<Late, "late"> | undefined {
    const { endpoint, aloneMs, times, hurries = true } = this.#parts;
    const { lostMs } = times;
    const passedMs = nowMs - this.#beganMs;
    if (lostMs === Infinity) return undefined;
    // While the body is on its way, silence is the link's: what a run here is worth meanwhile, the guard says where it has the means.
    const weighs = times.waitMs !== undefined && hurries;
    if (weighs && this.#arrivedMs === undefined && this.#tells()) return undefined;
    if (this.#silenceMs(nowMs) >= this.#silentMs) return "silent";
    if (passedMs >= lostMs) return "overdue";
    const { health } = endpoint;
    const failed = health.failing && health.downAtMs >= this.#startedMs;
    if (failed && passedMs >= this.#lateMs) return "failing";
    // Those that wait at an endpoint which has gone mute make no queue.
    return endpoint.mute && passedMs >= aloneMs ? "mute" : undefined;
  }

  /** For so long nothing that may happen makes it lost; after that it is known within `recheckMs` when something does. */
  #untilLostMs(nowMs: number): number {
    const { aloneMs } = this.#parts;
    const { lostMs } = this.#parts.times;
    if (lostMs === Infinity) return Infinity;
    const passedMs = nowMs - this.#beganMs;
    const untilSilentMs = this.#silentMs - this.#silenceMs(nowMs);
    const dueMs = Math.min(lostMs - passedMs, untilSilentMs > 0 ? untilSilentMs : Infinity);
    const soonMs = Math.min(this.#lateMs, aloneMs) - passedMs;
    return Math.min(dueMs, soonMs > 0 ? soonMs : recheckMs);
  }

  /** The last moment for a back-up that would take `localMs` now. For a deadline it is the one that was planned. */
  #dueMs(localMs: number): number {
    const { call, times } = this.#parts;
    if (call.deadlineMs === Infinity) return this.#beganMs + times.latestMs;
    return this.#startedMs + times.latestMs - Math.max(0, localMs - this.#plannedMs);
  }

  /** Another run is about to begin here that would make the back-up wait `longerMs` longer: this may be the moment to begin before it. */
  #before(longerMs: number): void {
    const { clock, times } = this.#parts;
    if (clock.nowMs() >= this.#dueMs(times.backUpMs()) - longerMs) this.#think(longerMs);
  }

  #think(longerMs = 0): void {
    const { clock, endpoint, call, hurries = true, waits, times } = this.#parts;
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    if (this.#over) return;
    const nowMs = clock.nowMs();
    this.#thoughtMs = nowMs;
    if (waits?.() === true) {
      this.#beganMs = this.#heardAtMs = nowMs;
      this.#look(recheckMs, nowMs);
      return;
    }
    const lost = this.#lost(nowMs);
    if (lost) {
      endpoint.missed(lost === "silent" ? Infinity : this.#beganMs);
      if (!this.#fire(lost)) this.#look(refusedMs, nowMs);
      return;
    }
    const localMs = Math.max(0.1, this.#parts.times.backUpMs());
    const { books } = endpoint;
    const leftMs = call.deadlineMs - nowMs;
    const dueMs = this.#dueMs(localMs) - longerMs;
    const tooLate = nowMs >= dueMs;
    // What comes after the deadline is waited for by nobody, and would keep this endpoint from the next request.
    const inTime = !times.waitMs || localMs <= leftMs;
    // Who pays for no second run but for the deadline has none where the answer keeps it as surely.
    const thenMs = leftMs - longerMs - recheckHereMs;
    const saves = !hurries && times.waitMs !== undefined && tooLate;
    const kept = saves && this.#keptUntilNext(leftMs, thenMs, localMs, nowMs);
    const needed = tooLate && leftMs < Infinity && inTime && !kept;
    const earlyMs = times.earliestMs - (nowMs - this.#beganMs);
    let waitMs = 0;
    const dear = times.waitMs === undefined && isDear(books.prices(nowMs));
    let spends = 1;
    let restsMs = times.waitMs ? recheckHereMs : recheckMs;
    if (earlyMs > 0 && !needed) {
      waitMs = earlyMs;
      restsMs = this.#untilLostMs(nowMs);
    } else if (!tooLate || !inTime || (dear && !needed)) {
      // With the budget overdrawn, even an overdue leg has its price at another server: where all are slow, each request would run twice.
      const plan = hurries && inTime ? this.#plan(localMs, leftMs, nowMs) : undefined;
      waitMs = plan?.waitMs ?? Infinity;
      // Of a run at another server, all counts: it takes a slot from somebody.
      if (plan && times.waitMs) spends = Math.max(leastSpent, plan.inVain, this.#parts.leg.bet?.begins ?? 0);
    }
    if (waitMs <= 0 && (hurries || needed)) {
      if (this.#fire("late")) books.spend(spends, nowMs);
      else this.#look(refusedMs, nowMs);
      return;
    }
    const untilLatest = tooLate ? recheckMs : dueMs - nowMs;
    this.#look(Math.max(1, Math.min(waitMs <= 0 ? recheckMs : waitMs, restsMs, untilLatest)), nowMs);
  }

  /** When the back-up, which would take `localMs` behind all that waits here, is best started. */
  #plan(localMs: number, leftMs: number, nowMs: number): SecondRunPlan {
    const { leg, endpoint, times } = this.#parts;
    const { books } = endpoint;
    const queueMs = Math.min(localMs, times.waitMs?.() ?? 0);
    const runMs = Math.max(0.1, localMs - queueMs);
    const freeMs = times.freeMs?.(nowMs) ?? queueMs;
    // A back-up elsewhere is there to be quicker: nothing here says when an answer is late.
    const loss = times.waitMs ? leg.bet?.loss : { lateAfterMs: Infinity, lateWeight: 0 };
    const standing = {
      remoteMs: this.#remaining(nowMs),
      localMs: freeMs + runMs,
      waitMs: freeMs,
      passedMs: nowMs - this.#beganMs,
      leftMs,
      device: times.device(nowMs, runMs),
      loss,
    };
    const charged = times.waitMs ? "in-vain" : "all";
    return planSecondRun(secondRunQuestion(standing, books.prices(nowMs), charged, books.options));
  }

  /** The answer may be here, unread: who is late then is this process, and each back-up that starts for it makes it later. */
  #look(inMs: number, nowMs: number): void {
    const { clock } = this.#parts;
    this.#timer = clock.timer(inMs, () => {
      if (clock.nowMs() - nowMs - inMs <= heldUpMs) this.#think();
      else this.#timer = clock.timer(0, () => this.#think());
    });
  }
}
