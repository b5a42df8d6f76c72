import type { EndpointInfo } from "../endpoint/index.ts";
import { codecRemoves } from "./filter/codec.ts";
import { costRemoves } from "./filter/cost.ts";
import { deadlineRemoves } from "./filter/deadline.ts";
import { energyRemoves } from "./filter/energy.ts";
import { filterIndex, filterOrder } from "./filter/order.ts";
import { tierRemoves } from "./filter/tier.ts";
import { rightsRemove } from "./filter/rights.ts";
import type { Group, Options } from "./options.ts";
import { type PlaceRules, placeRules } from "./place-rules.ts";
import type { FilterName } from "./plan.ts";
import { scoreOf } from "./score/score.ts";
import { paceOf, stagesThere } from "./stages.ts";
import type { Question } from "./question.ts";
import {
  meanReading,
  positionOf,
  readBelief,
  readBetween,
  serviceRatioAt,
  sizeCount,
  waitMsAt,
} from "../table/index.ts";

/**
 * Prices every remote candidate: each route with each option that it offers.
 *
 * The obvious way builds an object with a distribution for each candidate and sorts them: tens of microseconds each,
 * seconds for a thousand places. Here a candidate is a handful of numbers read in order from flat tables: one number
 * stands for a distribution (the mean, or the quantile by which the request is judged), and because sums of beliefs are
 * comonotone (see `Estimate`) the sum of the quantiles is the quantile of the sum, so nothing is approximated. Whole
 * distributions are built only for the few finalists.
 *
 * A candidate's completion is: local head + encoding | link up | queue there, penalty, run (what the place promised times
 * what it was seen to take over what it promised), decoding there | link down | local tail. The crossing is paid once, as
 * one body.
 */
export interface Findings {
  /** For each route: the score of its best candidate (Infinity when none is left) and the option that it is. */
  readonly bestScore: Float64Array;
  readonly bestOption: Float64Array;
  readonly bestGroup: Float64Array;
  /** Candidates of each route that no filter removed, and in all. */
  readonly kept: Float64Array;
  keptCount: number;
  /** What filters removed, route by route. */
  readonly removed: Removed[];
  /** All candidates looked at. */
  candidates: number;
}

/** Candidates of one route that one filter removed. */
export interface Removed {
  readonly route: number;
  readonly filter: FilterName;
  readonly count: number;
  /** One of them: its group, and its coding in the bucket. */
  readonly group: number;
  readonly coding: number;
  /** The rule, where the filter names one. */
  readonly rule?: string;
}

const tier = filterIndex("tier");
const codec = filterIndex("codec");
const agreement = filterIndex("agreement");
const rightsFilter = filterIndex("rights");
const dataClass = filterIndex("data-class");
const cost = filterIndex("cost");
const energy = filterIndex("energy");
const deadline = filterIndex("deadline");

/** What a scan carries from route to route. */
interface Scan {
  readonly question: Question;
  readonly options: Options;
  readonly rules: PlaceRules;
  /** Energy or money matters. */
  readonly priced: boolean;
  /** Removed candidates of the current route by filter, and one of them. */
  readonly counts: Float64Array;
  readonly sampleGroup: Float64Array;
  readonly sampleCoding: Float64Array;
  /** The policy's rule that was met last. */
  rule: string;
  /** Removed candidates of the current route. */
  lost: number;
  /** Score of the option that `scanGroup` found. */
  best: number;
}

/** Runs over all routes and options once. */
export function scan(question: Question, options: Options): Findings {
  const { request, model, scratch } = question;
  const { objective, maxDeviceMillijoules, maxCostMicros } = request.limits;
  const state: Scan = {
    question,
    options,
    rules: placeRules(request, question.view, model, options),
    priced:
      objective === "energy" ||
      objective === "cost" ||
      maxDeviceMillijoules !== undefined ||
      maxCostMicros !== undefined,
    counts: scratch.take(filterOrder.length),
    sampleGroup: scratch.take(filterOrder.length),
    sampleCoding: scratch.take(filterOrder.length),
    rule: "",
    lost: 0,
    best: Infinity,
  };
  const { count } = model.routes;
  const findings: Findings = {
    bestScore: scratch.take(count),
    bestOption: scratch.take(count),
    bestGroup: scratch.take(count),
    kept: scratch.take(count),
    keptCount: 0,
    removed: [],
    candidates: 0,
  };
  for (let route = 0; route < count; route++) {
    scanRoute(state, findings, route);
    if (state.lost > 0) collectLost(state, findings, route);
  }
  return findings;
}

/** Notes candidates that a filter removed. */
function lose(state: Scan, filter: number, count: number, group: number, coding: number): void {
  if (state.counts[filter] === 0) {
    state.sampleGroup[filter] = group;
    state.sampleCoding[filter] = coding;
  }
  state.counts[filter] = (state.counts[filter] ?? 0) + count;
  state.lost += count;
}

/** Moves the counts of one route to the findings. */
function collectLost(state: Scan, findings: Findings, route: number): void {
  const { counts } = state;
  for (let filter = 0; filter < counts.length; filter++) {
    const count = counts[filter] ?? 0;
    if (count === 0) continue;
    counts[filter] = 0;
    findings.removed.push({
      route,
      filter: filterOrder[filter] ?? "unavailable",
      count,
      group: state.sampleGroup[filter] ?? 0,
      coding: state.sampleCoding[filter] ?? 0,
      ...(filter === dataClass ? { rule: state.rule } : undefined),
    });
  }
  state.lost = 0;
}

function scanRoute(state: Scan, findings: Findings, route: number): void {
  const { options, rules, question } = state;
  const { reading } = question;
  const { rights } = question.request;
  const { endpoints } = question.view;
  const { routes } = question.model;
  const place = routes.endpoint[route] ?? 0;
  const out = rules.removes(route, place);
  const tierBit = endpoints.tierBit[place] ?? 0;
  let bestScore = Infinity;
  let bestOption = -1;
  let bestGroup = -1;
  let kept = 0;
  const { groups } = options;
  for (let index = 0; index < groups.length; index++) {
    const group = groups[index];
    if (!group) continue;
    const { cells } = group;
    const row = route * cells.count + group.cell;
    // Where it is not offered, each number of the row says so.
    const service = cells.service[positionOf(reading, routes.count * cells.count, row)] ?? NaN;
    if (Number.isNaN(service)) continue;
    findings.candidates += group.size;
    let whole = out;
    if (whole < 0) {
      if (tierRemoves(group.choice.variant.tierMask, tierBit)) whole = tier;
      else if (rights && lacksRight(rights, group, endpoints.infos[place])) whole = rightsFilter;
      else {
        const rule = rules.forbids(route, place, group.classSet);
        if (rule !== "") {
          state.rule = rule;
          whole = dataClass;
        }
      }
    }
    if (whole >= 0) {
      lose(state, whole, group.size, index, group.choice.bucket.firstCoding[group.from] ?? 0);
      continue;
    }
    for (const { filter, count, coding } of group.removed) lose(state, filter, count, index, coding);
    if (group.first === group.end) continue;
    const lostBefore = state.lost;
    const found = scanGroup(state, route, place, group, index, row, bestScore);
    kept += group.end - group.first - (state.lost - lostBefore);
    if (found < 0) continue;
    bestScore = state.best;
    bestOption = found;
    bestGroup = index;
  }
  findings.bestScore[route] = bestScore;
  findings.bestOption[route] = bestOption;
  findings.bestGroup[route] = bestGroup;
  findings.kept[route] = kept;
  findings.keptCount += kept;
}

function lacksRight(rights: readonly string[], group: Group, info: EndpointInfo | undefined): boolean {
  const { cuts } = group.choice.bucket;
  return rightsRemove(rights, cuts[group.from]?.id ?? "", cuts[group.to]?.id ?? "", info?.offers !== false);
}

/**
 * Prices the options of one group at one route. Returns the option that beats `bestSoFar`, or -1; its score is left in
 * `state.best`.
 */
function scanGroup(
  state: Scan,
  route: number,
  place: number,
  group: Group,
  index: number,
  row: number,
  bestSoFar: number,
): number {
  const { options, priced } = state;
  const { request, view, model, reading, remainingMs } = state.question;
  const { endpoints } = view;
  const { routes } = model;
  const { objective, minAgreementRatio, maxCostMicros, maxDeviceMillijoules } = request.limits;
  const paced = objective === "throughput";
  const { cells } = group;
  const service = readBelief(cells.service, routes.count * cells.count, row, reading);
  const linkRows = endpoints.count * sizeCount;
  const linkRow = place * sizeCount;
  const { up } = endpoints;
  const { fixedMs, upIndex, upFraction, decodeMs, codecMask, agreementRatio, accuracyRatio } = options;
  const { index: downIndex, fraction: downFraction } = group.reply;
  const thereMs =
    waitMsAt(endpoints, place) +
    service * serviceRatioAt(endpoints, place) +
    readBetween(endpoints.down, linkRows, linkRow + downIndex, downFraction, reading);
  const slowness = routes.slowness[route] ?? 1;
  const understood = routes.codecMask[route] ?? 0;
  // An offer may promise less agreement than the variant states; never more.
  const offered = Math.min(1, (cells.agreementRatio[row] ?? 0) / group.choice.variant.agreementRatio);
  const leastAgreement = offered < 1 ? (minAgreementRatio ?? 0) : 0;
  let best = bestSoFar;
  let found = -1;
  for (let option = group.first; option < group.end; option++) {
    const latencyMs =
      (fixedMs[option] ?? NaN) +
      readBetween(up, linkRows, linkRow + (upIndex[option] ?? 0), upFraction[option] ?? 0, reading) +
      thereMs +
      (decodeMs[option] ?? 0) * slowness;
    const agreed = (agreementRatio[option] ?? 0) * offered;
    let filter = -1;
    if (codecRemoves(codecMask[option] ?? 0, understood)) filter = codec;
    else if (agreed < leastAgreement) filter = agreement;
    const micros = priced ? costOf(state, group, row, place, option) : 0;
    const millijoules = priced ? energyOf(state, group, route, row, place, option) : 0;
    if (filter < 0) {
      if (costRemoves(micros, maxCostMicros)) filter = cost;
      else if (energyRemoves(millijoules, maxDeviceMillijoules)) filter = energy;
      else if (deadlineRemoves(latencyMs, remainingMs)) filter = deadline;
    }
    if (filter >= 0) {
      lose(state, filter, 1, index, options.coding[option] ?? 0);
      continue;
    }
    const pace = paced
      ? paceOf(state.question, stagesThere(state.question, options, group, option, route), place)
      : 0;
    const accuracy = accuracyRatio[option] ?? NaN;
    const score = scoreOf(objective, latencyMs, millijoules, micros, accuracy, agreed, pace);
    if (score >= best) continue;
    best = score;
    found = option;
  }
  state.best = best;
  return found;
}

/** Money for the run there, the local parts and the bytes both ways. */
function costOf(state: Scan, group: Group, row: number, place: number, option: number): number {
  const { options } = state;
  const { microsPerMegabyte } = state.question.view.endpoints;
  return (
    (group.cells.costMicros[row] ?? 0) +
    (options.costMicros[option] ?? 0) +
    ((microsPerMegabyte[place] ?? 0) / 1e6) * ((options.sentBytes[option] ?? 0) + group.replyBytes)
  );
}

/** Energy of this device, always by means: local parts, bytes, radio while it sends, waits and receives, idling. */
function energyOf(
  state: Scan,
  group: Group,
  route: number,
  row: number,
  place: number,
  option: number,
): number {
  const { options } = state;
  const { view, model } = state.question;
  const { endpoints, device } = view;
  const { routes } = model;
  const { cells, reply } = group;
  const rows = endpoints.count * sizeCount;
  const at = place * sizeCount;
  const upAt = at + (options.upIndex[option] ?? 0);
  const onAirMs =
    readBetween(endpoints.up, rows, upAt, options.upFraction[option] ?? 0, meanReading) +
    readBetween(endpoints.down, rows, at + reply.index, reply.fraction, meanReading);
  const awaitedMs =
    waitMsAt(endpoints, place) +
    readBelief(cells.service, routes.count * cells.count, row, meanReading) *
      serviceRatioAt(endpoints, place) +
    (options.decodeMs[option] ?? 0) * (routes.slowness[route] ?? 1);
  return (
    (options.deviceMillijoules[option] ?? 0) +
    onAirMs * device.radio.baseWatts +
    awaitedMs * device.radio.tailWatts +
    (onAirMs + awaitedMs + (options.fixedMeanMs[option] ?? 0)) * device.idleWatts
  );
}
