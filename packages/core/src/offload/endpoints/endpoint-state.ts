import type { Clock, EndpointId, LongshoreError, Random } from "../../words/base/index.ts";
import type { Endpoint, LoadReport, Offer } from "../../wire/endpoint/index.ts";
import {
  type Lateness,
  lateness,
  tries as tryBooks,
  type Tries,
  type TryOptions,
} from "../../decide/estimate/index.ts";
import type { Link } from "../../wire/transport/index.ts";
import { type EndpointView, transferSizes } from "../../decide/table/index.ts";
import { type EndpointHealth, endpointHealth } from "./endpoint-health.ts";
import { AnswerRecord } from "./answer-record.ts";
import { LinkState } from "./link-state.ts";
import { type QueueBelief, queueBelief, type QueueOutlook } from "./queue-belief.ts";
import { slowStart } from "./slow-start.ts";
import { promiseGrowth, type ServiceRatio, serviceRatio } from "./service-ratio.ts";

/** An avoided endpoint may be tried after this time without a request, in milliseconds. */
const untriedMs = 10_000;
/** An endpoint that is charged this many times its promise is avoided. */
const avoidedRatio = 1.5;
/** An endpoint that refused this many requests in a row is no longer believed. */
const mostTurnedAway = 3;
/** Share of its promise that an unproven endpoint is assumed to need, for a try. */
const unprovenRatio = 0.02;

/** How long after a failure a predicted lateness does not rule out a try, in milliseconds. */
const doubtMs = 10_000;

/** Position among `transferSizes` of the size from which the time per byte is computed. */
const gaugeSize = 5;

/** Rough time of a request at an endpoint, valid until something happens there. */
export interface Outlook {
  readonly queue: QueueOutlook;
  /** Run time divided by the promise. */
  readonly ratio: number;
  /** Charged for failures and newness, and the way there and back of nothing. */
  readonly extraMs: number;
  readonly perByteMs: number;
  /** Nothing is sent there before this instant. */
  readonly openAtMs: number;
}

/** The believed state of the queue at an endpoint. */
export type QueueReading = Pick<
  QueueBelief,
  "underWay" | "waitMs" | "occupiedMs" | "shared" | "serviceMs" | "reportedAtMs"
>;

/** The state of one other endpoint as seen from here: the mutable record behind an `EndpointView`. */
export interface EndpointState {
  readonly endpoint: Endpoint;
  readonly link: LinkState;
  readonly record: AnswerRecord;
  /** How many requests wait there. */
  readonly queue: QueueReading;
  readonly health: EndpointHealth;
  readonly service: ServiceRatio;
  /** The record of second runs beside it and of late answers, from which their price follows. */
  readonly books: Tries;
  readonly lateness: Lateness;
  /** Records that a leg with this promised run time was sent. Returns the milliseconds that it added to the queue. */
  legBegan(promisedMs: number, nowMs: number): number;
  /** A leg that was sent at `sentAtMs` and added `addedMs` to the queue was refused, or its connection closed: it is not there. */
  legWithdrawn(sentAtMs: number, addedMs: number): void;
  /** Records the end of a leg; `answeredAtMs` if it was answered. */
  legEnded(answeredAtMs?: number): void;
  /** Records a load report from a message that was under way for `delayMs`. */
  reported(load: LoadReport, nowMs: number, delayMs: number): void;
  /** Records that it refused a request because the wait would have exceeded the belief, and its load report. */
  turnedAway(load: LoadReport, nowMs: number): void;
  /** Whether it may turn requests away: one that takes nothing any more is to fail. */
  readonly mayTurnAway: boolean;
  /**
   * Records new offers. The first offers also start the belief about its link. It is computed at once if there are `few` endpoints;
   * otherwise in turn.
   */
  promised(offers: readonly Offer[], nowMs: number, few: boolean): void;
  /** Records the queue length that came with an offer. */
  offered(queueMs: number, nowMs: number): void;
  /** See `EndpointHealth.failed`. */
  failed(error: LongshoreError, nowMs: number, isPoll?: boolean, beganMs?: number): void;
  /** Rough time of a request there at any instant, until something happens. */
  outlook(nowMs: number): Outlook;
  /** Starts its slow start: it has just joined others. */
  startSlowly(nowMs: number): void;
  /** Records a run that was given up; see `EndpointHealth`. */
  abandoned(error: LongshoreError, nowMs: number, surely: boolean): void;
  /** It answered a request. */
  answered(nowMs: number): void;
  /** It gave one of several answers to a request. */
  answering(nowMs: number): void;
  /**
   * Whether the endpoint is worth a try: its promises were off, or it failed, and nothing was sent there for so long that it may have
   * changed; or too little is known of it.
   */
  untried(nowMs: number): boolean;
  /** Whether it failed recently, so that the charge and the belief since may be too high. Its first answers will tell. */
  doubtful(nowMs: number): boolean;
  /**
   * The endpoint as decisions read it. `anyway`: ignore its pause, because too many endpoints are paused at once. `afresh`: ignore learned
   * penalties once (exploration); an unproven endpoint counts as faster still. `alone`: ignore the slow start, because no other endpoint
   * could take the requests.
   */
  view(
    nowMs: number,
    as?: { readonly anyway?: boolean; readonly afresh?: boolean; readonly alone?: boolean },
  ): EndpointView;
}

/** Starts to follow an endpoint. */
export function followEndpoint(
  endpoint: Endpoint,
  belief: Link | undefined,
  clock: Clock,
  random: Random,
  hedges: TryOptions | undefined,
  /** Called after each event there, and whether the table of its `link` was computed again. */
  changed: (id: EndpointId, link: boolean) => void = () => undefined,
): EndpointState {
  const health = endpointHealth(random);
  const service = serviceRatio();
  const growth = promiseGrowth();
  const books = tryBooks(hedges);
  const lateAnswers = lateness();
  const queue = queueBelief(endpoint.capabilities?.loadEveryMs?.() !== undefined);
  const slow = slowStart();
  let returning = false;
  /** Whether it promised anything yet. */
  let promisedBefore = false;
  /** Requests in a row that it did not take. */
  let refused = 0;
  const happened = (ofLink = false): void => changed(endpoint.info.id, ofLink);
  const link = new LinkState(belief, clock.nowMs(), () => happened(true));
  const record = new AnswerRecord(clock.nowMs());
  const tried = (nowMs: number): number =>
    record.proven ? Math.min(1, service.ratio(nowMs)) : unprovenRatio;
  return {
    endpoint,
    link,
    record,
    queue,
    health,
    service,
    books,
    lateness: lateAnswers,
    legBegan(promisedMs, nowMs) {
      happened();
      record.sent(nowMs, queue.underWay === 0);
      link.touched();
      return queue.sent(promisedMs * service.ratio(nowMs), nowMs);
    },
    legWithdrawn(sentAtMs, addedMs) {
      happened();
      queue.withdrawn(sentAtMs, addedMs, clock.nowMs());
      link.touched();
    },
    legEnded(answeredAtMs) {
      happened();
      queue.ended(answeredAtMs ?? clock.nowMs(), answeredAtMs !== undefined);
      link.touched();
    },
    reported(load, nowMs, delayMs) {
      happened();
      queue.reported(load, nowMs, delayMs);
    },
    turnedAway(load, nowMs) {
      happened();
      refused++;
      queue.reported(load, nowMs, 0);
    },
    get mayTurnAway() {
      return refused < mostTurnedAway;
    },
    promised(offers, nowMs, few) {
      const first = !promisedBefore;
      promisedBefore = true;
      link.heard(nowMs);
      // If some links were known and others not, all requests would go to the known ones.
      if (first && few) link.refresh(nowMs);
      else if (first) link.touched(true);
      service.promised(growth(offers), nowMs, offers[0]?.segment.digest);
    },
    offered(queueMs, nowMs) {
      happened();
      queue.offered(queueMs, nowMs);
    },
    failed(error, nowMs, isPoll, beganMs) {
      happened();
      health.failed(error, nowMs, isPoll, beganMs);
      returning ||= health.failing;
      if (health.absent) record.gone();
      link.touched();
    },
    abandoned(error, nowMs, surely) {
      happened();
      health.abandoned(error, nowMs, surely);
      returning ||= health.failing;
      link.touched();
    },
    outlook(nowMs) {
      const { up, down } = link.table;
      const emptyMs = up[0] ?? 0;
      return {
        queue: queue.outlook(nowMs),
        ratio: service.ratio(nowMs),
        extraMs:
          health.penaltyMs(nowMs) +
          slow.chargeMs(queue.underWay, queue.serviceMs, nowMs) +
          emptyMs +
          (down[0] ?? 0),
        perByteMs: Math.max(0, (up[gaugeSize] ?? 0) - emptyMs) / (transferSizes[gaugeSize] ?? 1),
        openAtMs: health.distrusted === undefined ? health.pausedUntilMs : Infinity,
      };
    },
    startSlowly: slow.begin,
    answered(nowMs) {
      happened();
      health.succeeded(nowMs);
      record.answered(nowMs, true);
      link.heard(nowMs);
      refused = 0;
    },
    answering(nowMs) {
      record.answered(nowMs, false);
      link.heard(nowMs);
    },
    doubtful: (nowMs) =>
      health.failing || nowMs - health.downAtMs < doubtMs || slow.chargeMs(1, 1, nowMs) > 0,
    untried(nowMs) {
      if (record.unproven(nowMs)) return true;
      return (
        nowMs - record.sentAtMs > untriedMs &&
        (service.ratio(nowMs) > avoidedRatio || health.penaltyMs(nowMs) > 1)
      );
    },
    view(nowMs, { anyway = false, afresh = false, alone = false } = {}) {
      const unavailable = anyway ? undefined : health.unavailable(nowMs);
      if (returning && unavailable === undefined) {
        returning = false;
        slow.begin(nowMs);
      }
      const { underWay, serviceMs } = queue;
      const waitMs = queue.waitMs(nowMs) + (alone ? 0 : slow.chargeMs(underWay, serviceMs, nowMs));
      return {
        info: endpoint.info,
        link: link.table,
        queueMs: waitMs,
        serviceRatio: afresh ? tried(nowMs) : service.ratio(nowMs),
        penaltyMs: afresh ? 0 : health.penaltyMs(nowMs),
        // When a request sent now would arrive, the earlier ones will have.
        sharedMs: underWay > 0 ? (link.table.up[0] ?? 0) : 0,
        prices: books.prices(nowMs),
        unavailable,
        explored: afresh
          ? { serviceRatio: service.ratio(nowMs), penaltyMs: health.penaltyMs(nowMs) }
          : undefined,
      };
    },
  };
}
