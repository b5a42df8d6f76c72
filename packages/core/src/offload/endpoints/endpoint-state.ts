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
import {
  type EndpointView,
  linkTable,
  type LinkTable,
  linkTableOf,
  transferSizes,
} from "../../decide/table/index.ts";
import { type EndpointHealth, endpointHealth } from "./endpoint-health.ts";
import { queueBelief, type QueueOutlook } from "./queue-belief.ts";
import { slowStart } from "./slow-start.ts";
import { promiseGrowth, type ServiceRatio, serviceRatio } from "./service-ratio.ts";

/** Links of endpoints in this process cost nothing. */
const noLink: LinkTable = linkTableOf(() => 0);

/** Age at which the table of a link's belief is computed again, in milliseconds. */
const linkAgeMs = 1000;
/** Computing a link's belief takes milliseconds: it is not done more often than this, whatever happens on the link. */
const linkRestMs = 100;
/** An avoided endpoint may be tried after this time without a request, in milliseconds. */
const untriedMs = 10_000;
/** An endpoint that is charged this many times its promise is avoided. */
const avoidedRatio = 1.5;
/**
 * An endpoint with fewer answers than this since it appeared or returned is unproven. Its promise may be the time of its first, cold run,
 * or a guess where it promises nothing. Without requests it would never run warm and promise less.
 */
const provenAnswers = 5;
/**
 * An unproven endpoint may be tried after this pause, in milliseconds. The pause doubles after each try in a row whose answer came too
 * late: where an endpoint is as slow as it says, others answer first, and it would never prove anything.
 */
const unprovenMs = 1000;
/** How often the pause doubles at most. */
const mostDoubled = 10;
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

/** The state of one other endpoint as seen from here: the mutable record behind an `EndpointView`. */
export interface EndpointState {
  readonly endpoint: Endpoint;
  readonly link: Link | undefined;
  readonly health: EndpointHealth;
  readonly service: ServiceRatio;
  /** Whether it acknowledges a body while it arrives. If so, missing acknowledgements are evidence. */
  tells: boolean;
  /** The record of second runs beside it and of late answers, from which their price follows. */
  readonly books: Tries;
  readonly lateness: Lateness;
  /** The belief about its link as a table. Each computation makes a new object. */
  readonly table: LinkTable;
  /** The last table that was computed after something was received from the endpoint. */
  readonly heardTable: LinkTable;
  /** Records that a leg with this promised run time was sent. Returns the milliseconds that it added to the queue. */
  legBegan(promisedMs: number, nowMs: number): number;
  /** A leg that was sent at `sentAtMs` and added `addedMs` to the queue was refused, or its connection closed: it is not there. */
  legWithdrawn(sentAtMs: number, addedMs: number): void;
  /** Records the end of a leg; `answeredAtMs` if it was answered. */
  legEnded(answeredAtMs?: number): void;
  /** Records that a leg that began then counts as lost. Infinity if the reason is that the endpoint was silent for too long. */
  missed(beganMs: number): void;
  /**
   * Whether a leg there counts as lost and nothing was answered since it began. Later requests will not be answered either. Ends with the
   * next answer, or when nothing is under way there.
   */
  readonly mute: boolean;
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
  /** See `PlaceHealth.failed`. */
  failed(error: LongshoreError, nowMs: number, asked?: boolean, beganMs?: number): void;
  /** Requests from here under way there. */
  readonly underWay: number;
  queueMs(nowMs: number): number;
  /** Rough time of a request there at any instant, until something happens. */
  outlook(nowMs: number): Outlook;
  /** Whether other clients send requests there, as far as observed. */
  shared(nowMs: number): boolean;
  /** Time of its last load report. */
  readonly heardAtMs: number;
  /** Usual run time of our requests there; 0 before the first. */
  readonly serviceMs: number;
  /** Something happened on the link, or time passed: the belief is to be written down again; `atOnce` for the request that is due. */
  linkTouched(atOnce?: boolean): void;
  /** Whether `refreshLink` would change anything now. */
  linkStale(nowMs: number): boolean;
  refreshLink(nowMs: number): void;
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
  /** Time of its last answer to a request; -Infinity for never. */
  readonly answeredAtMs: number;
  /** Whether requests have shown how good its promises are. */
  readonly proven: boolean;
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
  link: Link | undefined,
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
  let table = link ? linkTable(link, clock.nowMs()) : noLink;
  let heardTable = table;
  let touched = false;
  let urgent = false;
  const queue = queueBelief(endpoint.capabilities?.loadEveryMs?.() !== undefined);
  const slow = slowStart();
  let returning = false;
  /** Answers since it came or came back. */
  let answers = 0;
  let answeredAtMs = -Infinity;
  /** Time of its last offers. */
  let saidAtMs = -Infinity;
  let mute = false;
  /** Requests in a row that it did not take. */
  let refused = 0;
  /** Exploratory requests sent there since its last answer. */
  let tries = 0;
  let sentAtMs = clock.nowMs();
  const happened = (ofLink = false): void => changed(endpoint.info.id, ofLink);
  const unproven = (nowMs: number): boolean =>
    answers < provenAnswers && nowMs - sentAtMs > unprovenMs * 2 ** Math.min(mostDoubled, tries);
  const tried = (nowMs: number): number =>
    answers < provenAnswers ? unprovenRatio : Math.min(1, service.ratio(nowMs));
  const refreshLink = (nowMs: number): void => {
    if (!link) return;
    const heard = Math.max(answeredAtMs, saidAtMs) >= table.atMs;
    table = linkTable(link, nowMs);
    if (heard) heardTable = table;
    touched = false;
    urgent = false;
    happened(true);
  };
  return {
    endpoint,
    link,
    health,
    service,
    tells: false,
    books,
    lateness: lateAnswers,
    get table() {
      return table;
    },
    get heardTable() {
      return heardTable;
    },
    legBegan(promisedMs, nowMs) {
      happened();
      if (unproven(nowMs)) tries++;
      if (queue.underWay === 0) mute = false;
      sentAtMs = nowMs;
      touched = true;
      return queue.sent(promisedMs * service.ratio(nowMs), nowMs);
    },
    legWithdrawn(sentAtMs, addedMs) {
      happened();
      queue.withdrawn(sentAtMs, addedMs, clock.nowMs());
      touched = true;
    },
    legEnded(answeredAtMs) {
      happened();
      queue.ended(answeredAtMs ?? clock.nowMs(), answeredAtMs !== undefined);
      touched = true;
    },
    missed(beganMs) {
      mute ||= beganMs > answeredAtMs;
    },
    get mute() {
      return mute;
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
      const first = saidAtMs === -Infinity;
      saidAtMs = nowMs;
      // If some links were known and others not, all requests would go to the known ones.
      if (first && few) refreshLink(nowMs);
      urgent ||= first && !few;
      service.promised(growth(offers), nowMs, offers[0]?.segment.digest);
    },
    offered(queueMs, nowMs) {
      happened();
      queue.offered(queueMs, nowMs);
    },
    failed(error, nowMs, asked, beganMs) {
      happened();
      health.failed(error, nowMs, asked, beganMs);
      returning ||= health.failing;
      if (health.absent) {
        answers = 0;
        tries = 0;
      }
      touched = true;
    },
    abandoned(error, nowMs, surely) {
      happened();
      health.abandoned(error, nowMs, surely);
      returning ||= health.failing;
      touched = true;
    },
    get underWay() {
      return queue.underWay;
    },
    queueMs: (nowMs) => queue.waitMs(nowMs),
    outlook(nowMs) {
      const { up, down } = table;
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
    shared: (nowMs) => queue.shared(nowMs),
    get heardAtMs() {
      return queue.reportedAtMs;
    },
    get serviceMs() {
      return queue.serviceMs;
    },
    linkTouched(atOnce = false) {
      touched = true;
      urgent ||= atOnce;
    },
    linkStale(nowMs) {
      const age = nowMs - table.atMs;
      return link !== undefined && (urgent || age > linkAgeMs || (touched && age > linkRestMs));
    },
    refreshLink,
    startSlowly: slow.begin,
    answered(nowMs) {
      happened();
      health.succeeded(nowMs);
      answeredAtMs = nowMs;
      mute = false;
      refused = 0;
      answers++;
      tries = 0;
    },
    answering(nowMs) {
      answeredAtMs = nowMs;
      mute = false;
    },
    doubtful: (nowMs) =>
      health.failing || nowMs - health.downAtMs < doubtMs || slow.chargeMs(1, 1, nowMs) > 0,
    get answeredAtMs() {
      return answeredAtMs;
    },
    get proven() {
      return answers >= provenAnswers;
    },
    untried(nowMs) {
      if (unproven(nowMs)) return true;
      return (
        nowMs - sentAtMs > untriedMs && (service.ratio(nowMs) > avoidedRatio || health.penaltyMs(nowMs) > 1)
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
        link: table,
        queueMs: waitMs,
        serviceRatio: afresh ? tried(nowMs) : service.ratio(nowMs),
        penaltyMs: afresh ? 0 : health.penaltyMs(nowMs),
        // When a request sent now would arrive, the earlier ones will have.
        sharedMs: underWay > 0 ? (table.up[0] ?? 0) : 0,
        prices: books.prices(nowMs),
        unavailable,
      };
    },
  };
}
