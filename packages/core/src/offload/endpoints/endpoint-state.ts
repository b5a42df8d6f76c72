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

/** The age at which the written-down belief about a link is asked for again, in milliseconds. */
const linkAgeMs = 1000;
/** Asking a link costs milliseconds of thought: not more often than this, whatever happens on it. */
const linkRestMs = 100;
/** An endpoint that is avoided and was left alone for this long may be tried, in milliseconds. */
const untriedMs = 10_000;
/** Charged so many times what it promises, an endpoint is avoided. */
const avoidedRatio = 1.5;
/**
 * An endpoint that has not answered so many requests since it came, or came back, is unproven: what it promises may be what its
 * first, cold run took, or a guess where it promises nothing. Left alone it would never run warm and promise less.
 */
const provenAnswers = 5;
/**
 * An unproven endpoint may be tried after this pause, in milliseconds. The pause doubles after each try in a row whose answer came too
 * late: where an endpoint is as slow as it says, others answer first, and it would never prove anything.
 */
const unprovenMs = 1000;
/** How often the pause doubles at most. */
const mostDoubled = 10;
/** Who took none of so many requests in a row is taken at its word no longer. */
const mostTurnedAway = 3;
/** For a try an unproven endpoint is taken to need this share of what it promises. */
const unprovenRatio = 0.02;

/** For so long after a failure a predicted lateness is no reason not to try an endpoint, in milliseconds. */
const doubtMs = 10_000;

/** A body of this size, by position among `transferSizes`, tells what each byte takes. */
const gaugeSize = 5;

/** What a request takes at an endpoint, roughly and as long as nothing happens there. */
export interface Outlook {
  readonly queue: QueueOutlook;
  /** Run time over what is promised. */
  readonly ratio: number;
  /** Charged for failures and newness, and the way there and back of nothing. */
  readonly extraMs: number;
  readonly perByteMs: number;
  /** Nothing is sent there before this instant. */
  readonly openAtMs: number;
}

/** One other endpoint, as this one experiences it: the mutable record behind an `EndpointView`. */
export interface EndpointState {
  readonly endpoint: Endpoint;
  readonly link: Link | undefined;
  readonly health: EndpointHealth;
  readonly service: ServiceRatio;
  /** It says how much of a body is there while that is under way: what is not said is evidence, too. */
  tells: boolean;
  /** What second runs beside it and late answers cost. */
  readonly books: Tries;
  readonly lateness: Lateness;
  /** The written-down belief about its link; another object whenever it was asked for again. */
  readonly table: LinkTable;
  /** The last one that was written down with something heard of the endpoint since the one before. */
  readonly heardTable: LinkTable;
  /** A leg was sent there, which it promised to run in that time. Gives what that added to its queue, in milliseconds. */
  legBegan(promisedMs: number, nowMs: number): number;
  /** A leg that was sent at `sentAtMs` and added `addedMs` to the queue was refused, or its connection closed: it is not there. */
  legWithdrawn(sentAtMs: number, addedMs: number): void;
  /** It is over; `answeredAtMs` where it was answered. */
  legEnded(answeredAtMs?: number): void;
  /** A leg that began there then is taken to be lost; Infinity where that is since the endpoint has said nothing for too long. */
  missed(beganMs: number): void;
  /**
   * One of the legs there is taken to be lost, and nothing was answered since it began: nor will what was sent there after it be.
   * Until it answers something, or nothing is under way there any more.
   */
  readonly mute: boolean;
  /** It said how busy it is, in a message that was under way for `delayMs`. */
  reported(load: LoadReport, nowMs: number, delayMs: number): void;
  /** It did not take a request, because that would have waited for longer than was believed; it said how busy it is. */
  turnedAway(load: LoadReport, nowMs: number): void;
  /** Whether it may turn requests away: one that takes nothing any more is to fail. */
  readonly mayTurnAway: boolean;
  /**
   * It said what it takes now for what it offers. The first time that tells of the way there, too, which is written down at once where endpoints
   * are `few`, and where they are very many when its turn comes.
   */
  promised(offers: readonly Offer[], nowMs: number, few: boolean): void;
  /** It said how long its queue is with an offer. */
  offered(queueMs: number, nowMs: number): void;
  /** See `PlaceHealth.failed`. */
  failed(error: LongshoreError, nowMs: number, asked?: boolean, beganMs?: number): void;
  /** Requests from here under way there. */
  readonly underWay: number;
  queueMs(nowMs: number): number;
  /** What a request there takes at any instant until something happens, roughly. */
  outlook(nowMs: number): Outlook;
  /** Others send there, too, as far as was seen. */
  shared(nowMs: number): boolean;
  /** When it last said how busy it is. */
  readonly heardAtMs: number;
  /** What a request from here usually runs there; 0 before the first. */
  readonly serviceMs: number;
  /** Something happened on the link, or time passed: the belief is to be written down again; `atOnce` for the request that is due. */
  linkTouched(atOnce?: boolean): void;
  /** Whether `refreshLink` would change anything now. */
  linkStale(nowMs: number): boolean;
  refreshLink(nowMs: number): void;
  /** It has just come to where others are. */
  startSlowly(nowMs: number): void;
  /** Nobody waited there any longer; see `EndpointHealth`. */
  abandoned(error: LongshoreError, nowMs: number, surely: boolean): void;
  /** It answered a request. */
  answered(nowMs: number): void;
  /** It gave one of several answers to a request. */
  answering(nowMs: number): void;
  /**
   * Promises are off, or it failed, and nothing was sent there for so long that it may have changed; or it has shown too
   * little so far.
   */
  untried(nowMs: number): boolean;
  /** It failed lately, and what is charged or believed of it since may be too much: its first answers will tell. */
  doubtful(nowMs: number): boolean;
  /** When it last answered a request; -Infinity for never. */
  readonly answeredAtMs: number;
  /** Requests have shown what its promises are worth. */
  readonly proven: boolean;
  /**
   * As decisions see it. `anyway`: too many pause at once, so this one does not. `afresh`: for once its promise is taken at
   * its word, to see whether it holds now, or for less as long as it is unproven. `alone`: nothing else could take what a slow start keeps away.
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
  /** Told whenever something happened there, and whether what is believed of its `link` was written down again. */
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
  /** When it last said what it offers. */
  let saidAtMs = -Infinity;
  let mute = false;
  /** Requests in a row that it did not take. */
  let refused = 0;
  /** Requests that were sent there to see what it takes, since the last answer. */
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
      // Where some are known and others not yet, all requests would go to those.
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
        // When nothing would be there that is sent now, what was sent before is.
        sharedMs: underWay > 0 ? (table.up[0] ?? 0) : 0,
        prices: books.prices(nowMs),
        unavailable,
      };
    },
  };
}
