import type { Clock, LongshoreError, Random } from "../base/index.ts";
import type { Endpoint, LoadReport } from "../endpoint/index.ts";
import { type HedgeBudget, hedgeBudget, type HedgeBudgetOptions, type Link } from "../estimate/index.ts";
import { type EndpointView, linkTable, type LinkTable, linkTableOf } from "../table/index.ts";
import { type PlaceHealth, placeHealth } from "./place-health.ts";
import { queueBelief } from "./queue-belief.ts";
import { type ServiceRatio, serviceRatio } from "./service-ratio.ts";

/** Links of places in this process cost nothing. */
const noLink: LinkTable = linkTableOf(() => 0);

/** The age at which the written-down belief about a link is asked for again, in milliseconds. */
const linkAgeMs = 1000;
/** Asking a link costs milliseconds of thought: not more often than this, whatever happens on it. */
const linkRestMs = 100;
/** One other place, as this one experiences it: the mutable record behind an `EndpointView`. */
export interface Place {
  readonly endpoint: Endpoint;
  readonly link: Link | undefined;
  readonly health: PlaceHealth;
  readonly service: ServiceRatio;
  readonly budget: HedgeBudget;
  /** The written-down belief about its link; another object whenever it was asked for again. */
  readonly table: LinkTable;
  /** A leg was sent there, which it promised to run in that time. */
  legBegan(promisedMs: number, nowMs: number): void;
  legEnded(): void;
  /** It said how busy it is, in a message that was under way for `delayMs`. */
  reported(load: LoadReport, nowMs: number, delayMs: number): void;
  /** It said how long its queue is with an offer. */
  offered(queueMs: number, nowMs: number): void;
  failed(error: LongshoreError, nowMs: number): void;
  queueMs(nowMs: number): number;
  /** Something happened on the link, or time passed: the belief is to be written down anew. */
  linkTouched(): void;
  /** Whether `refreshLink` would change anything now. */
  linkStale(nowMs: number): boolean;
  refreshLink(nowMs: number): void;
  view(nowMs: number): EndpointView;
}

/** Starts to follow a place. */
export function followPlace(
  endpoint: Endpoint,
  link: Link | undefined,
  clock: Clock,
  random: Random,
  hedges: HedgeBudgetOptions | undefined,
): Place {
  const health = placeHealth(random);
  const service = serviceRatio();
  const budget = hedgeBudget(hedges);
  let table = link ? linkTable(link, clock.nowMs()) : noLink;
  let touched = false;
  const queue = queueBelief();
  return {
    endpoint,
    link,
    health,
    service,
    budget,
    get table() {
      return table;
    },
    legBegan(promisedMs, nowMs) {
      queue.sent(promisedMs * service.ratio(nowMs), nowMs);
      touched = true;
    },
    legEnded() {
      queue.ended();
      touched = true;
    },
    reported: (load, nowMs, delayMs) => queue.reported(load, nowMs, delayMs),
    offered: (queueMs, nowMs) => queue.offered(queueMs, nowMs),
    failed(error, nowMs) {
      health.failed(error, nowMs);
      touched = true;
    },
    queueMs: (nowMs) => queue.waitMs(nowMs),
    linkTouched() {
      touched = true;
    },
    linkStale(nowMs) {
      const age = nowMs - table.atMs;
      return link !== undefined && (age > linkAgeMs || (touched && age > linkRestMs));
    },
    refreshLink(nowMs) {
      if (!link) return;
      table = linkTable(link, nowMs);
      touched = false;
    },
    view(nowMs) {
      const unavailable = health.unavailable(nowMs);
      return {
        info: endpoint.info,
        link: table,
        queueMs: queue.waitMs(nowMs),
        serviceRatio: service.ratio(nowMs),
        penaltyMs: health.penaltyMs(nowMs),
        extraRunPrice: budget.allows ? budget.price : Infinity,
        ...(unavailable === undefined ? {} : { unavailable }),
      };
    },
  };
}
