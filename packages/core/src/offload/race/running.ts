import {
  type Call,
  type childCall,
  failureEvent,
  type Late,
  LongshoreError,
  type Reason,
} from "../../words/base/index.ts";
import type { InferenceResponse, LoadReport, Progress } from "../../wire/endpoint/index.ts";
import { exchangeMillijoules, radios } from "../../decide/estimate/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import type { TransferNote } from "../../wire/transport/index.ts";
import { latestOf, type Leg, type Plan, type Trigger } from "../../decide/plan/index.ts";
import type { Held } from "../steps/index.ts";
import type { Job } from "./job.ts";
import { learnLocal, learnLost, learnRemote, tallyLocal, tallyRemote } from "./learn.ts";
import type { Loop } from "./loop.ts";
import { guardFor, type GuardTimes, lateAloneMs } from "./guard-times.ts";
import type { LocalRun, EndpointState, RadioUse } from "../endpoints/index.ts";
import { longSendMs } from "../probe/index.ts";
import type { Hold, Tally } from "../account/index.ts";
import { charge, lostMicros } from "./charge.ts";

/** A leg under way: what it was expected to take, and what was heard of it. */
export interface Running {
  readonly leg: Leg;
  readonly startedMs: number;
  readonly cancel: (reason: LongshoreError) => void;
  /** Where it runs; undefined here. */
  readonly endpoint: EndpointState | undefined;
  /** What it hardly ever takes once its body is here and nobody waits before it; see `lateAloneMs`. Infinity here. */
  readonly aloneMs: number;
  /** The same, and what waited at the endpoint when it started. */
  readonly usualMs: number;
  /** What it added to the believed queue of its endpoint when it started, in milliseconds. */
  readonly addedMs: number;
  /** Its slot at this endpoint. */
  readonly work: LocalRun | undefined;
  /** Ends it when it has spent that, at an endpoint that knows no limits. */
  ends: Disposable | undefined;
  /** What it may spend, where the request has a limit. */
  readonly hold: Hold | undefined;
  /** Its exchange over the radio of this device; undefined here. */
  readonly exchange: RadioUse | undefined;
  /** It began while its body was still on its way here: how long it takes is its sender's doing, too. */
  readonly waits: boolean;
  /** From then on its endpoint is to blame: it began, or all of its body was seen to be here. Undefined before. */
  beganMs: number | undefined;
  heardAtMs: number;
  heardBytes: number;
  /** What is left of its body's way, as its link believes; undefined where that hears nothing of it. */
  way: Pick<TransferNote, "remainingMs"> | undefined;
  /** It was to be taken only where it need not wait for longer. */
  readonly mostWaitMs: number | undefined;
  /** How busy its endpoint was when it did not take it. */
  refused: LoadReport | undefined;
  /** Why it was late when that was written down last. */
  late: Late | undefined;
}

/** Books a leg that starts now: a slot here, or load and radio for elsewhere. */
export function beginLeg(
  loop: Loop,
  leg: Leg,
  endpointState: EndpointState | undefined,
  { call, cancel }: Pick<ReturnType<typeof childCall>, "call" | "cancel">,
  {
    waits = false,
    mostWaitMs,
    inTurn = false,
    hold,
  }: {
    readonly waits?: boolean;
    readonly mostWaitMs?: number | undefined;
    /** A first run, which keeps its turn at this device. */
    readonly inTurn?: boolean;
    /** What the leg may spend, where the request has a limit. */
    readonly hold?: Hold | undefined;
  } = {},
): Running {
  loop.behind.settle();
  const nowMs = loop.clock.nowMs();
  const expectedMs = meanOf(leg.predicted.completionMs);
  const aloneMs = endpointState ? lateAloneMs(endpointState, leg, nowMs) : Infinity;
  const usualMs = aloneMs + (endpointState?.queueMs(nowMs) ?? 0);
  const addedMs = endpointState?.legBegan(leg.travels?.promisedMs ?? expectedMs, nowMs) ?? 0;
  const running: Running = {
    leg,
    startedMs: nowMs,
    cancel,
    endpoint: endpointState,
    aloneMs,
    usualMs,
    addedMs,
    work: endpointState
      ? undefined
      : loop.work[inTurn ? "beginInTurn" : "begin"](leg.holdsMs ?? expectedMs, nowMs, call.deadlineMs),
    ends: undefined,
    hold,
    exchange: endpointState ? loop.radio.begun(nowMs) : undefined,
    waits,
    beganMs: waits ? undefined : nowMs,
    heardAtMs: nowMs,
    heardBytes: 0,
    way: undefined,
    mostWaitMs,
    refused: undefined,
    late: undefined,
  };
  loop.endpoints.touched();
  if (isLongSend(running)) loop.upkeep();
  return running;
}

/** Writes down that a leg elsewhere is over, behind what those before it taught: what an endpoint says of its load counts who is under way. */
export function endLeg(loop: Loop, endpointState: EndpointState | undefined, answeredAtMs?: number): void {
  loop.behind.settle();
  endpointState?.legEnded(answeredAtMs);
}

/** Failures after which the request is not at the endpoint: it was refused, or went with its connection. */
const withdrawing: ReadonlySet<Reason> = new Set<Reason>(["unreachable", "no-answer", "shutting-down"]);

/** Writes down that a leg elsewhere failed. One that never came, or that its endpoint has lost, is taken out of the queue that is believed in. */
export function endFailedLeg(
  loop: Loop,
  { endpoint: endpointState, startedMs, addedMs }: Running,
  reason: Reason,
): void {
  if (!withdrawing.has(reason)) return endLeg(loop, endpointState);
  loop.behind.settle();
  endpointState?.legWithdrawn(startedMs, addedMs);
}

/** Writes down that a leg began. */
export function recordBegin(
  { clock, parts }: Loop,
  callId: string,
  { id: leg, endpoint, predicted }: Leg,
  trigger: Trigger["on"],
): void {
  const [atMs, expectedMs] = [clock.nowMs(), meanOf(predicted.completionMs)];
  parts.observer.record({ kind: "leg-started", atMs, callId, leg, endpoint, trigger, expectedMs });
}

/** Writes down that a leg is over. */
export function recordEnd(
  { parts }: Loop,
  callId: string,
  { leg: { id: leg, endpoint }, startedMs }: { readonly leg: Leg; readonly startedMs: number },
  outcome: "won" | "lost" | LongshoreError["reason"],
  atMs: number,
): void {
  const tookMs = atMs - startedMs;
  parts.observer.record({ kind: "leg-ended", atMs, callId, leg, endpoint, tookMs, outcome });
}

/** Writes down that a leg is late or lost, and whether anything began for it: where nothing can begin, once for each reason. */
export function recordLate(
  { clock, parts }: Loop,
  callId: string,
  running: Running,
  because: Late,
  begun: boolean,
): void {
  if (!begun && running.late === because) return;
  running.late = because;
  const { id: leg, endpoint } = running.leg;
  const atMs = clock.nowMs();
  const tookMs = atMs - running.startedMs;
  parts.observer.record({ kind: "leg-late", atMs, callId, leg, endpoint, tookMs, because, begun });
}

/** What an answered leg taught and used. That it was answered is known at once: failures and guards go by what was answered before. */
export function bookAnswer(
  loop: Loop,
  job: Job,
  held: Held,
  { leg, endpoint: endpointState, startedMs, usualMs, exchange, waits, hold }: Running,
  response: InferenceResponse,
  tally: Tally,
  nowMs: number,
): void {
  const { account } = response;
  const tookMs = waits ? account.stages.reduce((sum, stage) => sum + stage.tookMs, 0) : nowMs - startedMs;
  tally.accounts.push(account);
  charge(loop, job, leg.endpoint, account.costMicros, hold, tally);
  loop.warmth.ran(leg.endpoint, leg.segment);
  if (endpointState) {
    const { load } = response;
    const silentMs = nowMs - Math.max(startedMs, endpointState.answeredAtMs);
    loop.endpoints.answered(endpointState, leg.segment, nowMs);
    loop.waiting.answered(leg.endpoint);
    loop.behind.add(() => {
      learnRemote(loop, endpointState, leg, account, load, tookMs, nowMs);
      if (!waits) endpointState.lateness.answered(tookMs, usualMs, silentMs);
    });
    tallyRemote(loop, tally, account, exchange, tookMs, nowMs);
  } else {
    learnLocal(job.known, leg, account, held.features, nowMs);
    tallyLocal(loop, tally, account);
  }
}

/**
 * What a leg that lost taught and used. A run here goes on although nobody waits for it: it keeps its slot and costs its
 * energy all the same. An exchange cost what was heard of it.
 */
export function bookLoss(
  loop: Loop,
  job: Job,
  running: Running,
  why: string,
  tally: Tally,
  nowMs: number,
): void {
  const { leg, endpoint: endpointState, beganMs, heardAtMs } = running;
  charge(loop, job, leg.endpoint, lostMicros(running, nowMs), running.hold, tally);
  tally.lostLegs.push({ leg: leg.id, endpoint: leg.endpoint, why });
  tally.measured = false;
  if (!endpointState) {
    tally.millijoules += leg.predicted.deviceMillijoules;
    return;
  }
  endLeg(loop, endpointState);
  if (beganMs !== undefined) {
    const arrived = bodyArrived(running);
    // What took some of the body lately is well, however long its link needs for the rest.
    const fromMs = arrived ? beganMs : Math.max(beganMs, heardAtMs);
    learnLost(loop, endpointState, running, nowMs - fromMs, arrived ? nowMs - heardAtMs : undefined, nowMs);
  }
  tallyUnanswered(loop, running, tally, nowMs);
}

/** Adds what an exchange used of which no answer came, as far as was heard of it. */
export function tallyUnanswered(
  loop: Loop,
  { exchange, heardBytes }: Running,
  tally: Tally,
  nowMs: number,
): void {
  if (!exchange) return;
  const radio = loop.parts.device?.radio ?? radios.wired;
  tally.measured = false;
  tally.sentBytes += heardBytes;
  tally.millijoules +=
    exchange.wakeMillijoules + exchangeMillijoules(radio, heardBytes, 0, exchange.ended(nowMs), 0);
}

/**
 * The peer has so many bytes of a body. When it has all, that is news as it was when it began: nothing waits behind it any more, and the
 * next request may come as soon as the answer does.
 */
export function heard(loop: Loop, running: Running, bytes: number): void {
  running.heardBytes = bytes;
  running.heardAtMs = loop.clock.nowMs();
  if (!isLongSend(running) || !bodyArrived(running)) return;
  running.endpoint?.linkTouched(true);
  loop.upkeep();
}

function isLongSend({ leg }: Pick<Running, "leg">): boolean {
  return leg.travels !== undefined && meanOf(leg.travels.upMs) >= longSendMs;
}

/** Whether the peer has the whole body, as far as its size was foreseen: headers are not acknowledged. */
function bodyArrived({ leg, heardBytes }: Running): boolean {
  return heardBytes > 0 && heardBytes >= 0.98 * (leg.predicted.sentBytes - 900);
}

/** What is noted of it while it is under way. */
export function progressOf(running: Running, acknowledged: Progress["acknowledged"]): Progress {
  return {
    acknowledged,
    onItsWay: (way) => void (running.way = way),
    refused: (load) => void (running.refused = load),
  };
}

/** The load of an endpoint that did not take a leg because others had been quicker there; undefined where it does not say that. */
function outrunBy(
  { mostWaitMs = Infinity, refused }: Running,
  { reason, retryAfterMs = 0 }: LongshoreError,
): LoadReport | undefined {
  if (reason !== "busier" || !refused) return undefined;
  // What it told of all its work may be less than what this one would have met.
  const queueMs = Math.max(refused.queueMs, mostWaitMs + retryAfterMs);
  return queueMs > mostWaitMs && queueMs < Infinity ? { ...refused, queueMs } : undefined;
}

/** What a failure says of its endpoint: nobody has to be busier than is believed where nothing was said of that. */
function heldAgainst(error: LongshoreError): LongshoreError {
  if (error.reason !== "busier") return error;
  return new LongshoreError("bad-reply", error.stage, error.message, { cause: error });
}

/** Books and tells of a leg that broke; whether others were only quicker to its endpoint, so that the plan is to be made again. */
export function bookBroken(
  loop: Loop,
  running: Running,
  { id, tenant }: Pick<Call, "id" | "tenant">,
  error: LongshoreError,
  nowMs: number,
): boolean {
  const { endpoint: endpointState, leg, startedMs } = running;
  const load = outrunBy(running, error);
  if (load) endpointState?.turnedAway(load, nowMs);
  else if (endpointState)
    loop.endpoints.failed(endpointState, leg.segment, heldAgainst(error), nowMs, startedMs, tenant);
  loop.endpoints.touched();
  loop.parts.observer.record(failureEvent(error, { id, tenant, model: leg.segment.model }, nowMs));
  return load !== undefined;
}

/** An answer that comes from an endpoint that is not believed any more counts for nothing. */
export function checkBelieved({ leg, endpoint: endpointState }: Running): void {
  const why = endpointState?.health.distrusted;
  if (why !== undefined) throw new LongshoreError("bad-reply", "decode", `${leg.endpoint}: ${why}`);
}

/** When a back-up may start that watches a leg. */
export function timesFor(leg: Leg, backUp: Leg, { legs }: Plan, loop: Loop): GuardTimes {
  const here = backUp.endpoint === loop.local?.info.id;
  const tail = legs.find((one) => one.takes === leg.id);
  return guardFor(loop, leg, { backUp, here, tail, latestMs: latestOf(backUp, leg) });
}
