import type { Call, Clock, Late } from "../../words/base/index.ts";
import { acknowledgeStep, type TransferNote } from "../../wire/transport/index.ts";
import { chanceBelow, type Estimate, estimateSize, left, shift, sum } from "../../words/estimate/index.ts";
import { isDear, planSecondRun, type SecondRunPlan, secondRunQuestion } from "../../decide/estimate/index.ts";
import type { Leg } from "../../decide/plan/index.ts";
import { hardlyMore } from "../../decide/table/index.ts";
import { type GuardTimes, leastLostMs } from "./guard-times.ts";
import type { EndpointState } from "../endpoints/index.ts";

/** Watches one remote leg and signals when its back-up must start. Dispose it when the leg is over. */
export interface GuardWatch extends Disposable {
  /** The peer has that many bytes of the body. */
  acknowledged(bytes: number): void;
  /**
   * Reports that the started run gave nothing, so that another may start: at once if the leg is still late or lost. Returns whether one
   * started.
   */
  again(): boolean;
  /** Starts a run at once that is expected to be much faster. Returns whether one started. */
  sooner(): boolean;
}

/** Inputs of a guard. */
export interface GuardParts {
  readonly clock: Clock;
  readonly endpoint: Pick<EndpointState, "health" | "link" | "record" | "tries">;
  readonly leg: Leg;
  readonly call: Call;
  /** Whether an extra run may be paid to be quicker; false: only to keep the deadline. Default true. */
  readonly hurries?: boolean;
  readonly times: GuardTimes;
  /** The longest likely time of the leg without a queue; see `lateAloneMs`. */
  readonly aloneMs: number;
  /**
   * The same with the queue at the endpoint. If nothing is received for the leg, and nothing else is answered there, for longer than before
   * any recent answer, the endpoint counts as silent and the request as lost. Default: unknown.
   */
  readonly usualMs?: number;
  /** The rest of the transfer of its body by the belief of its link; undefined if the link receives no acknowledgements. */
  readonly way?: () => Pick<TransferNote, "remainingMs" | "quiet"> | undefined;
  /** Whether the body is still arriving here. Nothing is late before it has arrived; the time counts from then on. Default: never. */
  readonly waits?: () => boolean;
  /**
   * Starts the back-up and returns whether that was possible; otherwise it is called again a little later. If the leg is not just late, the
   * back-up is a retry.
   */
  readonly fire: (because: Late) => boolean;
}

/** Approximate bytes of a message before its body. They are not acknowledged. */
const headBytes = 900;

/** The start is recomputed at least this often while nothing is received, in milliseconds: silence is evidence. */
const recheckMs = 20;
/** The same for a back-up here, which is worth most at the last moment in time. */
const recheckHereMs = 10;
/** Pause before the next try if a back-up could not start, in milliseconds: each try makes a plan. */
const refusedMs = 100;
/** If a check is delayed by more than this, the process was busy: what arrived meanwhile is read first. In milliseconds. */
const heldUpMs = 5;
/** A deadline counts as kept if the probability of missing it is at most that of exceeding the last value of a belief. */
const missRatio = 1 / (2 * estimateSize);
/** A second run spends at least this much of the budget, since a small believed probability may be wrong. */
const leastSpent = 0.5;
/** Acknowledgements closer together than this are handled together, in milliseconds: a link's belief takes a tenth of a millisecond. */
const restMs = 5;

/**
 * Turns "late" into a moment, recomputed as acknowledgements arrive and as silence lasts. Until the whole body is acknowledged, the link's
 * belief gives the rest of the transfer. Afterwards the endpoint is at work, and the rest is its promised time minus the time that passed.
 * Without acknowledgements only the time that passed counts.
 *
 * The record of the endpoint prices a second run. One formula decides when it begins (`planSecondRun`), before the answer is late and
 * after. A back-up here begins when the device is idle or the turn of the request has come. If only the back-up can keep the deadline, it
 * does not wait for that.
 */
export function guardWatch(parts: GuardParts): GuardWatch {
  return new Watching(parts);
}

/** A class for the same reason as `Once`: every request that leaves has one. */
class Watching implements GuardWatch {
  readonly #parts: GuardParts;
  readonly #startedMs: number;
  /** Start of the server's own time: when the request began, or when its whole body had arrived. */
  #beganMs: number;
  /** Time of the last acknowledgement of body bytes, which a silent endpoint does not send. */
  #heardAtMs: number;
  /** The wait here when the latest start of the back-up was planned. A longer wait by now would make the back-up miss the deadline. */
  readonly #plannedMs: number;
  /** The leg counts as lost after this if the endpoint has failed other requests since. */
  readonly #lateMs: number;
  /** A healthy endpoint is never silent for this long. */
  readonly #silentMs: number;
  #keptBack: Disposable | undefined;
  #turn: Disposable | undefined;
  /** The part of the leg after the run there; it does not change. */
  #last: Estimate | undefined;
  #timer: Disposable | undefined;
  /** When the timer is due. */
  #lookAtMs = Infinity;
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
    // A new endpoint may be cold. One that failed and has answered nothing since counts as still gone.
    const known = endpoint.record.proven || endpoint.health.failing;
    this.#silentMs = known ? Math.max(leastLostMs, endpoint.tries.lateness.beyondMs(usualMs)) : Infinity;
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
    // An endpoint without acknowledgements sends one message: its answer.
    if (!all) endpoint.link.tells = true;
    else if (this.#heardBytes === 0 && bodyBytes > acknowledgeStep(bodyBytes)) endpoint.link.tells = false;
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
    endpoint.tries.books.spend(1, clock.nowMs());
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

  /** Starts the back-up. Returns whether something started; then nothing is held back any more. */
  #fire(because: Late): boolean {
    this.#over = this.#parts.fire(because);
    if (this.#over) {
      this.#keptBack?.[Symbol.dispose]();
      this.#turn?.[Symbol.dispose]();
      this.#turn = undefined;
    }
    return this.#over;
  }

  /** The remaining time of the remote leg by current belief. */
  #remaining(nowMs: number): Estimate {
    const { leg, endpoint, times } = this.#parts;
    const { travels } = leg;
    const expected = leg.predicted.completionMs;
    if (!travels) return left(expected, nowMs - this.#beganMs);
    const last = (this.#last ??= shift(travels.downMs, times.afterMs));
    if (this.#arrivedMs !== undefined) return sum(left(travels.thereMs, nowMs - this.#arrivedMs), last);
    // A link's belief depends most on its own body. Without acknowledgements it is read once some of the body has been passed on.
    const way = this.#tells() ? this.#parts.way?.() : undefined;
    const wayMs =
      way?.remainingMs(nowMs) ?? (this.#heardBytes > 0 && endpoint.link.belief?.transferMs(0, "up", nowMs));
    if (!wayMs) return shift(left(expected, nowMs - this.#beganMs), times.afterMs);
    return sum(sum(wayMs, travels.thereMs), last);
  }

  /**
   * Whether a deadline in `leftMs` is kept as surely without a run here that begins now: by the answer, or by a run that begins at the next
   * check, has `thenMs` then and takes `localMs`. If so, no run begins.
   */
  #keptUntilNext(leftMs: number, thenMs: number, localMs: number, nowMs: number): boolean {
    const { lateRatio } = this.#parts.times;
    const lateChance = 1 - chanceBelow(this.#remaining(nowMs), leftMs);
    const runLate = localMs <= thenMs ? (lateRatio?.(thenMs) ?? 1) : 1;
    return lateChance * runLate <= missRatio;
  }

  /** Whether the link's belief covers this body and so includes its own silences. */
  #tells(): boolean {
    const { leg, endpoint } = this.#parts;
    const bodyBytes = leg.predicted.sentBytes - headBytes;
    const tells = this.#heardBytes > 0 || (endpoint.link.tells && bodyBytes > acknowledgeStep(bodyBytes));
    return tells && endpoint.link.belief !== undefined;
  }

  /** How long nothing at all was received from the endpoint. */
  #silenceMs(nowMs: number): number {
    return nowMs - Math.max(this.#heardAtMs, this.#parts.endpoint.record.answeredAtMs);
  }

  /** Why nothing is to be hoped for any more; undefined while something is. */
  #lost(nowMs: number): Exclude<Late, "late"> | undefined {
    const { endpoint, aloneMs, times, hurries = true } = this.#parts;
    const { lostMs } = times;
    const passedMs = nowMs - this.#beganMs;
    if (lostMs === Infinity) return undefined;
    // Silence during the transfer belongs to the link. The guard weighs a run here meanwhile if it has the figures.
    const weighs = times.waitMs !== undefined && hurries;
    if (weighs && this.#arrivedMs === undefined && this.#tells()) return undefined;
    if (this.#silenceMs(nowMs) >= this.#silentMs) return "silent";
    if (passedMs >= lostMs) return "overdue";
    const { health } = endpoint;
    const failed = health.failing && health.downAtMs >= this.#startedMs;
    if (failed && passedMs >= this.#lateMs) return "failing";
    // Those that wait at an endpoint which has gone mute make no queue.
    return endpoint.record.mute && passedMs >= aloneMs ? "mute" : undefined;
  }

  /** How long the leg cannot count as lost, whatever happens. After that, a loss is noticed within `recheckMs`. */
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

  /** The latest start of a back-up that would take `localMs` now. With a deadline it is the planned one. */
  #dueMs(localMs: number): number {
    const { call, times } = this.#parts;
    if (call.deadlineMs === Infinity) return this.#beganMs + times.latestMs;
    return this.#startedMs + times.latestMs - Math.max(0, localMs - this.#plannedMs);
  }

  /** Called when another run that would delay the back-up by `longerMs` is about to begin here: it may be best to begin first. */
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
      endpoint.record.missed(lost === "silent" ? Infinity : this.#beganMs);
      if (!this.#fire(lost)) this.#look(refusedMs, nowMs);
      return;
    }
    const localMs = Math.max(0.1, this.#parts.times.backUpMs());
    const { books } = endpoint.tries;
    const leftMs = call.deadlineMs - nowMs;
    const dueMs = this.#dueMs(localMs) - longerMs;
    const tooLate = nowMs >= dueMs;
    // A result after the deadline is useless, and its run would delay the next request here.
    const inTime = !times.waitMs || localMs <= leftMs;
    // Where second runs are paid for the deadline only, none starts if the answer keeps the deadline as surely.
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
      // With the budget overdrawn, even an overdue leg has its price at another server: if all servers are slow, each request would run
      // twice.
      // No run begins before the device is free. If that is after the next check, a plan would change nothing.
      const busy = (times.freeMs?.(nowMs) ?? 0) > restsMs;
      if (busy) this.#quiet(nowMs);
      const plan = hurries && inTime && !busy ? this.#plan(localMs, leftMs, nowMs) : undefined;
      waitMs = plan?.waitMs ?? Infinity;
      // A run at another server counts in full, since it takes a slot from other requests.
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

  /** The belief of the link learns from the silence until now, without the cost of a reading. */
  #quiet(nowMs: number): void {
    if (this.#arrivedMs === undefined && this.#tells()) this.#parts.way?.()?.quiet?.(nowMs);
  }

  /** The best start of a back-up that would take `localMs`, its queue here included. */
  #plan(localMs: number, leftMs: number, nowMs: number): SecondRunPlan {
    const { leg, endpoint, times } = this.#parts;
    const { books } = endpoint.tries;
    const queueMs = Math.min(localMs, times.waitMs?.() ?? 0);
    const runMs = Math.max(0.1, localMs - queueMs);
    const freeMs = times.freeMs?.(nowMs) ?? queueMs;
    // A back-up elsewhere exists to be quicker: no local figure says when an answer is late.
    const loss = times.waitMs ? leg.bet?.loss : { lateAfterMs: Infinity, lateWeight: 0 };
    const standing = {
      remoteMs: this.#remaining(nowMs),
      localMs: freeMs + runMs,
      waitMs: freeMs,
      passedMs: nowMs - this.#beganMs,
      leftMs,
      device: times.device(nowMs, runMs),
      waiting: times.waiting?.(nowMs),
      loss,
    };
    const charged = times.waitMs ? "in-vain" : "all";
    return planSecondRun(secondRunQuestion(standing, books.prices(nowMs), charged, books.options));
  }

  /** Checks again in a moment. */
  #look(inMs: number, nowMs: number): void {
    this.#lookAtMs = nowMs + inMs;
    this.#timer = this.#parts.clock.timer(inMs, this.#looked);
  }

  /** The answer may have arrived unread: then this process is late, and each back-up makes it later. */
  readonly #looked = (): void => {
    const { clock } = this.#parts;
    if (clock.nowMs() - this.#lookAtMs <= heldUpMs) this.#think();
    else this.#timer = clock.timer(0, () => this.#think());
  };
}
