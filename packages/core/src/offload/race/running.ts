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
import { latestOf, type Leg, type Plan, type Trigger } from "../../decide/plan/index.ts";
import type { HeldCrossing } from "../steps/index.ts";
import type { Asked, Job } from "./job.ts";
import { learnLocal, learnLost, learnRemote, tallyLocal, tallyRemote } from "./learn.ts";
import type { Loop, LoopBeliefs, LoopSetting } from "./loop.ts";
import { guardFor, type GuardTimes, lateAloneMs } from "./guard-times.ts";
import type { EndpointState } from "../endpoints/index.ts";
import { longSendMs } from "../probe/index.ts";
import type { Hold, Tally } from "../account/index.ts";
import { countAnswer, countDeviceEnergy, type Counting, countPredicted } from "./carbon.ts";
import { charge, lostMicros } from "./charge.ts";
import type { Running } from "./running-leg.ts";

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
    /** Its reservation, if the request has a limit on cost. */
    readonly hold?: Hold | undefined;
  } = {},
): Running {
  loop.deferred.settle();
  const nowMs = loop.clock.nowMs();
  const expectedMs = meanOf(leg.predicted.completionMs);
  const aloneMs = endpointState ? lateAloneMs(endpointState, leg, nowMs) : Infinity;
  const usualMs = aloneMs + (endpointState?.queue.waitMs(nowMs) ?? 0);
  const addedMs = endpointState?.legs.began(leg.travels?.promisedMs ?? expectedMs, nowMs) ?? 0;
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
      : loop.device.work[inTurn ? "beginInTurn" : "begin"](leg.holdsMs ?? expectedMs, nowMs, call.deadlineMs),
    ends: undefined,
    watch: undefined,
    hold,
    exchange: endpointState ? loop.device.radio?.begun(nowMs) : undefined,
    waits,
    beganMs: waits ? undefined : nowMs,
    heardAtMs: nowMs,
    heardBytes: 0,
    way: undefined,
    mostWaitMs,
    refused: undefined,
    late: undefined,
  };
  loop.endpoints.tables.touched();
  if (isLongSend(running)) loop.probing.upkeep();
  return running;
}

/** Records the end of a leg elsewhere, after what earlier legs taught: an endpoint's load report counts the requests under way. */
export function endLeg(loop: Loop, endpointState: EndpointState | undefined, answeredAtMs?: number): void {
  loop.deferred.settle();
  endpointState?.legs.ended(answeredAtMs);
}

/** Failures after which the request is not at the endpoint: it was refused, or went with its connection. */
const withdrawing: ReadonlySet<Reason> = new Set<Reason>(["unreachable", "no-answer", "shutting-down"]);

/** Records the failure of a leg elsewhere. A leg that never arrived, or that its endpoint lost, is removed from the believed queue. */
export function endFailedLeg(
  loop: Loop,
  { endpoint: endpointState, startedMs, addedMs }: Running,
  reason: Reason,
): void {
  if (!withdrawing.has(reason)) return endLeg(loop, endpointState);
  loop.deferred.settle();
  endpointState?.legs.withdrawn(startedMs, addedMs);
}

/** Records the start of a leg. */
export function recordBegin(
  { clock, parts }: LoopSetting,
  callId: string,
  { id: leg, endpoint, predicted }: Leg,
  trigger: Trigger["on"],
): void {
  const [atMs, expectedMs] = [clock.nowMs(), meanOf(predicted.completionMs)];
  parts.observer.record({ kind: "leg-started", atMs, callId, leg, endpoint, trigger, expectedMs });
}

/** Writes down that a leg is over. */
export function recordEnd(
  { parts }: LoopSetting,
  callId: string,
  { leg: { id: leg, endpoint }, startedMs }: { readonly leg: Leg; readonly startedMs: number },
  outcome: "won" | "lost" | LongshoreError["reason"],
  atMs: number,
): void {
  const tookMs = atMs - startedMs;
  parts.observer.record({ kind: "leg-ended", atMs, callId, leg, endpoint, tookMs, outcome });
}

/** Records that a leg is late or lost, and whether another started for it. If none can start, it is recorded once for each reason. */
export function recordLate(
  { clock, parts }: LoopSetting,
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

/** Records what an answered leg taught and used. The answer itself is recorded at once, since failures and guards depend on it. */
export function bookAnswer(
  loop: Loop,
  job: Asked,
  held: HeldCrossing,
  { leg, endpoint: endpointState, startedMs, usualMs, exchange, waits, hold }: Running,
  response: InferenceResponse,
  tally: Tally,
  nowMs: number,
): void {
  const { account } = response;
  const tookMs = waits ? account.stages.reduce((sum, stage) => sum + stage.tookMs, 0) : nowMs - startedMs;
  tally.accounts.push(account);
  charge(loop, job, leg.endpoint, account.costMicros, hold, tally);
  if (endpointState) countAnswer(loop, job, account, tally);
  loop.device.warmth.ran(leg.endpoint, leg.segment);
  if (endpointState) {
    const { load } = response;
    const silentMs = nowMs - Math.max(startedMs, endpointState.record.answeredAtMs);
    loop.endpoints.runs.answered(endpointState, leg.segment, nowMs);
    endpointState.record.answeredFrom(startedMs);
    loop.retrying.waiting.answered(leg.endpoint);
    loop.deferred.add(() => {
      learnRemote(loop, endpointState, leg, account, load, tookMs, nowMs);
      if (!waits) endpointState.tries.lateness.answered(tookMs, usualMs, silentMs);
    });
    tallyRemote(loop, job, tally, account, exchange, tookMs, nowMs);
  } else {
    learnLocal(job.known, leg, account, held.features, nowMs);
    tallyLocal(loop, job, tally, account);
  }
}

/**
 * Records what a losing leg taught and used. A run here goes on although its result is not needed: it keeps its slot and costs its energy.
 * An exchange costs what was received of it.
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
    countDeviceEnergy(loop, job, leg.predicted.deviceMillijoules, true, tally);
    return;
  }
  countPredicted(loop, job, leg, tally);
  endLeg(loop, endpointState);
  if (beganMs !== undefined) {
    const arrived = bodyArrived(running);
    // An endpoint that accepted body bytes recently is healthy, however long its link needs for the rest.
    const fromMs = arrived ? beganMs : Math.max(beganMs, heardAtMs);
    learnLost(loop, endpointState, running, nowMs - fromMs, arrived ? nowMs - heardAtMs : undefined, nowMs);
  }
  tallyUnanswered(loop, job, running, tally, nowMs);
}

/** Adds what an exchange without an answer used, as far as it is known. */
export function tallyUnanswered(
  loop: Loop,
  job: Counting,
  { endpoint: endpointState, exchange, heardBytes }: Running,
  tally: Tally,
  nowMs: number,
): void {
  if (!endpointState) return;
  tally.measured = false;
  tally.sentBytes += heardBytes;
  if (!exchange) return;
  const radio = loop.parts.device?.radio ?? radios.wired;
  const moved = exchangeMillijoules(radio, heardBytes, 0, exchange.ended(nowMs), 0);
  countDeviceEnergy(loop, job, exchange.wakeMillijoules + moved, false, tally);
}

/**
 * Records that the peer has this many bytes of a body. When it has all, nothing queues behind the body any more, and the next request may
 * come with the answer.
 */
export function acknowledgedBytes(loop: Loop, running: Running, bytes: number): void {
  running.heardBytes = bytes;
  running.heardAtMs = loop.clock.nowMs();
  if (!isLongSend(running) || !bodyArrived(running)) return;
  running.endpoint?.link.touched(true);
  loop.probing.upkeep();
}

function isLongSend({ leg }: Pick<Running, "leg">): boolean {
  return leg.travels !== undefined && meanOf(leg.travels.upMs) >= longSendMs;
}

/** Whether the peer has the whole body, as far as its size was foreseen: headers are not acknowledged. */
function bodyArrived({ leg, heardBytes }: Running): boolean {
  return heardBytes > 0 && heardBytes >= 0.98 * (leg.predicted.sentBytes - 900);
}

/** The progress to record while it is under way. */
export function progressOf(running: Running, acknowledged: Progress["acknowledged"]): Progress {
  return {
    acknowledged,
    onItsWay: (way) => void (running.way = way),
    refused: (load) => void (running.refused = load),
  };
}

/** The load of an endpoint that refused a leg because others had been quicker there; undefined if it gives another reason. */
function outrunBy(
  { mostWaitMs = Infinity, refused }: Running,
  { reason, retryAfterMs = 0 }: LongshoreError,
): LoadReport | undefined {
  if (reason !== "busier" || !refused) return undefined;
  // Its report of all its work may be less than this leg would have met.
  const queueMs = Math.max(refused.queueMs, mostWaitMs + retryAfterMs);
  return queueMs > mostWaitMs && queueMs < Infinity ? { ...refused, queueMs } : undefined;
}

/** The error to count against the endpoint. Without a load report it need not be busier than believed. */
function heldAgainst(error: LongshoreError): LongshoreError {
  if (error.reason !== "busier") return error;
  return new LongshoreError("bad-reply", error.stage, error.message, { cause: error });
}

/** Records and reports a failed leg. Returns whether others were only quicker to its endpoint, so that a new plan is needed. */
export function bookBroken(
  loop: LoopSetting & LoopBeliefs,
  running: Running,
  { id, tenant }: Pick<Call, "id" | "tenant">,
  error: LongshoreError,
  nowMs: number,
): boolean {
  const { endpoint: endpointState, leg, startedMs } = running;
  const load = outrunBy(running, error);
  if (load) endpointState?.reports.turnedAway(load, nowMs);
  else if (endpointState)
    loop.endpoints.runs.failed(endpointState, leg.segment, heldAgainst(error), nowMs, startedMs, tenant);
  loop.endpoints.tables.touched();
  loop.parts.observer.record(failureEvent(error, { id, tenant, model: leg.segment.model }, nowMs));
  return load !== undefined;
}

/** Rejects an answer from an endpoint that is distrusted by now. */
export function checkBelieved({ leg, endpoint: endpointState }: Running): void {
  const why = endpointState?.health.distrusted;
  if (why !== undefined) throw new LongshoreError("bad-reply", "decode", `${leg.endpoint}: ${why}`);
}

/** When a back-up may start that watches a leg. */
export function timesFor(leg: Leg, backUp: Leg, { legs }: Plan, loop: LoopSetting & LoopBeliefs): GuardTimes {
  const here = backUp.endpoint === loop.local?.info.id;
  const tail = legs.find((one) => one.takes === leg.id);
  return guardFor(loop.clock, loop.device, leg, { backUp, here, tail, latestMs: latestOf(backUp, leg) });
}
