import type { Clock, EndpointId, LongshoreError, Random } from "../../words/base/index.ts";
import type { Endpoint, LoadReport, Offer } from "../../wire/endpoint/index.ts";
import {
  type Lateness,
  lateness,
  tries as tryBooks,
  type Tries,
  type TryOptions,
} from "../../decide/estimate/index.ts";
import { soundLoad } from "../../wire/oip/index.ts";
import type { Link } from "../../wire/transport/index.ts";
import { type EndpointView, transferSizes } from "../../decide/table/index.ts";
import { type EndpointHealth, endpointHealth } from "./endpoint-health.ts";
import { type AnswerRecord, answerRecord } from "./answer-record.ts";
import { type LinkState, linkState } from "./link-state.ts";
import { type QueueBelief, queueBelief, type QueueOutlook } from "./queue-belief.ts";
import { type SlowStart, slowStart } from "./slow-start.ts";
import { type PromiseGrowth, promiseGrowth, type ServiceRatio, serviceRatio } from "./service-ratio.ts";

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

/** Requests of this process that are sent to an endpoint: its queue grows and shrinks with them. */
export interface EndpointLegs {
  /** Records that a leg with this promised run time was sent. Returns the milliseconds that it added to the queue. */
  began(promisedMs: number, nowMs: number): number;
  /** A leg that was sent at `sentAtMs` and added `addedMs` to the queue was refused, or its connection closed: it is not there. */
  withdrawn(sentAtMs: number, addedMs: number): void;
  /** Records the end of a leg; `answeredAtMs` if it was answered. */
  ended(answeredAtMs?: number): void;
}

/** Takes the load, the refusals and the offers that an endpoint reports. */
export interface EndpointReports {
  /** Records a load report from a message that was under way for `delayMs`. */
  load(load: LoadReport, nowMs: number, delayMs: number): void;
  /** Records that it refused a request because the wait would have exceeded the belief, and its load report. */
  turnedAway(load: LoadReport, nowMs: number): void;
  /**
   * Records new offers. The first offers also start the belief about its link. It is computed at once if there are `few` endpoints;
   * otherwise in turn.
   */
  offers(offers: readonly Offer[], nowMs: number, few: boolean): void;
  /** Records the queue length that came with an offer. */
  queue(queueMs: number, nowMs: number): void;
}

/** How requests to an endpoint end. */
export interface EndpointOutcomes {
  /** It answered a request. */
  answered(nowMs: number): void;
  /** It gave one of several answers to a request. */
  answering(nowMs: number): void;
  /** See `EndpointHealth.failed`. */
  failed(error: LongshoreError, nowMs: number, isPoll?: boolean, beganMs?: number): void;
  /** Records a run that was given up; see `EndpointHealth`. */
  abandoned(error: LongshoreError, nowMs: number, surely: boolean): void;
}

/** The record from which the price of a second run beside an endpoint follows. */
export interface EndpointTries {
  /** The record of second runs, from which their price follows. */
  readonly books: Tries;
  readonly lateness: Lateness;
}

/** An endpoint as decisions read it. */
export interface EndpointReading {
  /**
   * The row of a table. `anyway`: ignore its pause, because too many endpoints are paused at once. `afresh`: ignore learned
   * penalties once (exploration); an unproven endpoint counts as faster still. `alone`: ignore the slow start, because no other endpoint
   * could take the requests.
   */
  view(
    nowMs: number,
    as?: { readonly anyway?: boolean; readonly afresh?: boolean; readonly alone?: boolean },
  ): EndpointView;
  /** Rough time of a request there at any instant, until something happens. */
  outlook(nowMs: number): Outlook;
  /**
   * Whether the endpoint is worth a try: its promises were off, or it failed, and nothing was sent there for so long that it may have
   * changed; or too little is known of it.
   */
  untried(nowMs: number): boolean;
  /** Whether it failed recently, so that the charge and the belief since may be too high. Its first answers will tell. */
  doubtful(nowMs: number): boolean;
  /** Whether it may turn requests away: one that takes nothing any more is to fail. */
  readonly mayTurnAway: boolean;
}

/** The state of one other endpoint as seen from here: what is believed of it, and the events that change the beliefs. */
export interface EndpointState {
  readonly endpoint: Endpoint;
  readonly link: LinkState;
  readonly health: EndpointHealth;
  readonly record: AnswerRecord;
  /** How many requests wait there. */
  readonly queue: QueueReading;
  readonly service: ServiceRatio;
  readonly tries: EndpointTries;
  readonly legs: EndpointLegs;
  readonly reports: EndpointReports;
  readonly outcomes: EndpointOutcomes;
  readonly reading: EndpointReading;
}

/** Called after each event at an endpoint, and whether the table of its `link` was computed again. */
type Changed = (id: EndpointId, link: boolean) => void;

/**
 * The beliefs that the parts of one state share. The parts are classes: a picker follows ten thousand endpoints, and objects with closures of their own
 * take several times the memory.
 */
class Beliefs {
  readonly endpoint: Endpoint;
  readonly clock: Clock;
  readonly link: LinkState;
  readonly health: EndpointHealth;
  readonly record: AnswerRecord;
  readonly queue: QueueBelief;
  readonly service: ServiceRatio;
  readonly tries: EndpointTries;
  readonly growth: PromiseGrowth = promiseGrowth();
  readonly slow: SlowStart = slowStart();
  /** It failed, and begins slowly once it is available again. */
  returning = false;
  /** Whether it promised anything yet. */
  promisedBefore = false;
  /** Requests in a row that it did not take. */
  refused = 0;
  readonly #changed: Changed;

  constructor(
    endpoint: Endpoint,
    belief: Link | undefined,
    clock: Clock,
    random: Random,
    hedges: TryOptions | undefined,
    changed: Changed,
  ) {
    const nowMs = clock.nowMs();
    this.endpoint = endpoint;
    this.clock = clock;
    this.#changed = changed;
    this.health = endpointHealth(random);
    this.service = serviceRatio();
    this.tries = { books: tryBooks(hedges), lateness: lateness() };
    this.queue = queueBelief(endpoint.capabilities.loadEveryMs?.() !== undefined);
    this.link = linkState(belief, nowMs, () => this.happened(true));
    this.record = answerRecord(nowMs);
  }

  happened(ofLink = false): void {
    this.#changed(this.endpoint.info.id, ofLink);
  }
}

class Legs implements EndpointLegs {
  readonly #beliefs: Beliefs;

  constructor(beliefs: Beliefs) {
    this.#beliefs = beliefs;
  }

  began(promisedMs: number, nowMs: number): number {
    const { record, queue, link, service } = this.#beliefs;
    this.#beliefs.happened();
    record.sent(nowMs, queue.underWay === 0);
    link.touched();
    return queue.sent(promisedMs * service.ratio(nowMs), nowMs);
  }

  withdrawn(sentAtMs: number, addedMs: number): void {
    const { queue, link, clock } = this.#beliefs;
    this.#beliefs.happened();
    queue.withdrawn(sentAtMs, addedMs, clock.nowMs());
    link.touched();
  }

  ended(answeredAtMs?: number): void {
    const { queue, link, clock } = this.#beliefs;
    this.#beliefs.happened();
    queue.ended(answeredAtMs ?? clock.nowMs(), answeredAtMs !== undefined);
    link.touched();
  }
}

class Reports implements EndpointReports {
  readonly #beliefs: Beliefs;

  constructor(beliefs: Beliefs) {
    this.#beliefs = beliefs;
  }

  load(load: LoadReport, nowMs: number, delayMs: number): void {
    this.#beliefs.happened();
    const sound = soundLoad(load);
    if (sound) this.#beliefs.queue.reported(sound, nowMs, delayMs);
  }

  turnedAway(load: LoadReport, nowMs: number): void {
    this.#beliefs.happened();
    this.#beliefs.refused++;
    const sound = soundLoad(load);
    if (sound) this.#beliefs.queue.reported(sound, nowMs, 0);
  }

  offers(offers: readonly Offer[], nowMs: number, few: boolean): void {
    const beliefs = this.#beliefs;
    const { link, service, growth } = beliefs;
    const first = !beliefs.promisedBefore;
    beliefs.promisedBefore = true;
    link.heard(nowMs);
    // If some links were known and others not, all requests would go to the known ones.
    if (first && few) link.refresh(nowMs);
    else if (first) link.touched(true);
    service.promised(growth.factor(offers), nowMs, offers[0]?.segment.digest);
  }

  queue(queueMs: number, nowMs: number): void {
    this.#beliefs.happened();
    this.#beliefs.queue.offered(queueMs, nowMs);
  }
}

class Outcomes implements EndpointOutcomes {
  readonly #beliefs: Beliefs;

  constructor(beliefs: Beliefs) {
    this.#beliefs = beliefs;
  }

  answered(nowMs: number): void {
    const { health, record, link } = this.#beliefs;
    this.#beliefs.happened();
    health.succeeded(nowMs);
    record.answered(nowMs, true);
    link.heard(nowMs);
    this.#beliefs.refused = 0;
  }

  answering(nowMs: number): void {
    this.#beliefs.record.answered(nowMs, false);
    this.#beliefs.link.heard(nowMs);
  }

  failed(error: LongshoreError, nowMs: number, isPoll?: boolean, beganMs?: number): void {
    const { health, record, link } = this.#beliefs;
    this.#beliefs.happened();
    health.failed(error, nowMs, isPoll, beganMs);
    this.#beliefs.returning ||= health.failing;
    if (health.absent) record.gone();
    link.touched();
  }

  abandoned(error: LongshoreError, nowMs: number, surely: boolean): void {
    const { health, link } = this.#beliefs;
    this.#beliefs.happened();
    health.abandoned(error, nowMs, surely);
    this.#beliefs.returning ||= health.failing;
    link.touched();
  }
}

class Reading implements EndpointReading {
  readonly #beliefs: Beliefs;

  constructor(beliefs: Beliefs) {
    this.#beliefs = beliefs;
  }

  view(
    nowMs: number,
    {
      anyway = false,
      afresh = false,
      alone = false,
    }: { readonly anyway?: boolean; readonly afresh?: boolean; readonly alone?: boolean } = {},
  ): EndpointView {
    const beliefs = this.#beliefs;
    const { endpoint, health, link, queue, record, service, slow, tries } = beliefs;
    const unavailable = anyway ? undefined : health.unavailable(nowMs);
    if (beliefs.returning && unavailable === undefined) {
      beliefs.returning = false;
      slow.begin(nowMs);
    }
    const { underWay, serviceMs } = queue;
    const waitMs = queue.waitMs(nowMs) + (alone ? 0 : slow.chargeMs(underWay, serviceMs, nowMs));
    const ratio = service.ratio(nowMs);
    const triedRatio = record.proven ? Math.min(1, ratio) : unprovenRatio;
    return {
      info: endpoint.info,
      link: link.table,
      queueMs: waitMs,
      serviceRatio: afresh ? triedRatio : ratio,
      penaltyMs: afresh ? 0 : health.penaltyMs(nowMs),
      // When a request sent now would arrive, the earlier ones will have.
      sharedMs: underWay > 0 ? (link.table.up[0] ?? 0) : 0,
      prices: tries.books.prices(nowMs),
      unavailable,
      explored: afresh ? { serviceRatio: ratio, penaltyMs: health.penaltyMs(nowMs) } : undefined,
    };
  }

  outlook(nowMs: number): Outlook {
    const { health, link, queue, service, slow } = this.#beliefs;
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
  }

  untried(nowMs: number): boolean {
    const { record, service, health } = this.#beliefs;
    if (record.unproven(nowMs)) return true;
    return (
      nowMs - record.sentAtMs > untriedMs &&
      (service.ratio(nowMs) > avoidedRatio || health.penaltyMs(nowMs) > 1)
    );
  }

  doubtful(nowMs: number): boolean {
    const { health, slow } = this.#beliefs;
    return health.failing || nowMs - health.downAtMs < doubtMs || slow.chargeMs(1, 1, nowMs) > 0;
  }

  get mayTurnAway(): boolean {
    return this.#beliefs.refused < mostTurnedAway;
  }
}

/** Starts to follow an endpoint. */
export function followEndpoint(
  endpoint: Endpoint,
  belief: Link | undefined,
  clock: Clock,
  random: Random,
  hedges: TryOptions | undefined,
  /** Called after each event there, and whether the table of its `link` was computed again. */
  changed: Changed = () => undefined,
  /** Whether it has just joined others, so that it gets its share of requests little by little. */
  startsSlowly: boolean = false,
): EndpointState {
  const beliefs = new Beliefs(endpoint, belief, clock, random, hedges, changed);
  if (startsSlowly) beliefs.slow.begin(clock.nowMs());
  const { link, health, record, queue, service, tries } = beliefs;
  return {
    endpoint,
    link,
    health,
    record,
    queue,
    service,
    tries,
    legs: new Legs(beliefs),
    reports: new Reports(beliefs),
    outcomes: new Outcomes(beliefs),
    reading: new Reading(beliefs),
  };
}
