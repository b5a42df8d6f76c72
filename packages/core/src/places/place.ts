import type { Clock, LongshoreError, Random } from "../base/index.ts";
import type { Endpoint, LoadReport } from "../endpoint/index.ts";
import { type HedgeBudget, hedgeBudget, type HedgeBudgetOptions, type Link } from "../estimate/index.ts";
import { type EndpointView, linkTable, type LinkTable, linkTableOf } from "../table/index.ts";
import { type PlaceHealth, placeHealth } from "./place-health.ts";
import { type ServiceRatio, serviceRatio } from "./service-ratio.ts";

/** Links of places in this process cost nothing. */
const noLink: LinkTable = linkTableOf(() => 0);

/** The age at which the written-down belief about a link is asked for again, in milliseconds. */
const linkAgeMs = 1000;
/** Asking a link costs milliseconds of thought: not more often than this, whatever happens on it. */
const linkRestMs = 100;
/** What a place said of its queue counts half after this time; then it is taken to be as busy as usual. */
const loadHalfLifeMs = 1000;
/** What is usual for a place counts half after this time without news: it may have become idle. */
const usualHalfLifeMs = 30_000;
/** Weight of one report in what is usual. */
const usualWeight = 0.2;

/** One other place, as this one experiences it: the mutable record behind an `EndpointView`. */
export interface Place {
  readonly endpoint: Endpoint;
  readonly link: Link | undefined;
  readonly health: PlaceHealth;
  readonly service: ServiceRatio;
  readonly budget: HedgeBudget;
  /** The written-down belief about its link; another object whenever it was asked for again. */
  readonly table: LinkTable;
  /** A leg was sent there; the expected run time counts as load until a report includes it. */
  legBegan(expectedMs: number, nowMs: number): void;
  legEnded(expectedMs: number): void;
  reported(load: LoadReport, nowMs: number): void;
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
  let load: LoadReport | undefined;
  let loadAtMs = -Infinity;
  let usualMs = 0;
  let usualAtMs = -Infinity;
  /** Runs sent since the last report, in expected milliseconds. */
  let sentMs = 0;
  const usual = (nowMs: number): number =>
    usualAtMs === -Infinity ? 0 : usualMs * 0.5 ** (Math.max(0, nowMs - usualAtMs) / usualHalfLifeMs);
  const learnUsual = (saidMs: number, nowMs: number): void => {
    const before = usual(nowMs);
    usualMs = before + usualWeight * (saidMs - before);
    usualAtMs = nowMs;
  };
  const queueMs = (nowMs: number): number => {
    const fallback = usual(nowMs);
    const fresh = load ? 0.5 ** ((nowMs - loadAtMs) / loadHalfLifeMs) : 0;
    const told = fallback + fresh * ((load?.queueMs ?? 0) - fallback);
    // A place that works on something without a queue has free instances: what we sent may not wait at all.
    const weight = load && load.inFlight > 0 && load.queueMs < 1 ? 0.5 : 1;
    return told + weight * sentMs;
  };
  return {
    endpoint,
    link,
    health,
    service,
    budget,
    get table() {
      return table;
    },
    legBegan(expectedMs) {
      sentMs += expectedMs;
      touched = true;
    },
    legEnded(expectedMs) {
      sentMs = Math.max(0, sentMs - expectedMs);
      touched = true;
    },
    reported(report, nowMs) {
      load = report;
      loadAtMs = nowMs;
      learnUsual(report.queueMs, nowMs);
    },
    offered(queueMs, nowMs) {
      learnUsual(queueMs, nowMs);
    },
    failed(error, nowMs) {
      health.failed(error, nowMs);
      touched = true;
    },
    queueMs,
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
        queueMs: queueMs(nowMs),
        serviceRatio: service.ratio(nowMs),
        penaltyMs: health.penaltyMs(nowMs),
        extraRunPrice: budget.allows ? budget.price : Infinity,
        ...(unavailable === undefined ? {} : { unavailable }),
      };
    },
  };
}
