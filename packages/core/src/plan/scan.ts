import type { EndpointInfo } from "../endpoint/index.ts";
import { codecRemoves } from "./filter/codec.ts";
import { costRemoves } from "./filter/cost.ts";
import { deadlineRemoves } from "./filter/deadline.ts";
import { energyRemoves } from "./filter/energy.ts";
import { filterIndex } from "./filter/order.ts";
import { tierRemoves } from "./filter/tier.ts";
import { rightsRemove } from "./filter/rights.ts";
import type { Group, Options } from "./options.ts";
import { type PlaceRules, placeRules } from "./place-rules.ts";
import { collectLost, lose, type LostTally, lostTally, type Removed } from "./lost-tally.ts";
import { scoreOf } from "./score/score.ts";
import { paceOf, stagesThere } from "./stages.ts";
import type { Question } from "./question.ts";
import { meanReading, readBelief, readBetween, serviceRatioAt, sizeCount, waitMsAt } from "../table/index.ts";

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
  readonly keptCount: number;
  /** What filters removed, route by route. */
  readonly removed: readonly Removed[];
  /** All candidates looked at. */
  readonly candidates: number;
}

const none = new Float64Array(0);

/** Where no place takes part. */
export const noFindings: Findings = {
  bestScore: none,
  bestOption: none,
  bestGroup: none,
  kept: none,
  keptCount: 0,
  removed: [],
  candidates: 0,
};

const tier = filterIndex("tier");
const codec = filterIndex("codec");
const agreement = filterIndex("agreement");
const rightsFilter = filterIndex("rights");
const dataClass = filterIndex("data-class");
const cost = filterIndex("cost");
const energy = filterIndex("energy");
const deadline = filterIndex("deadline");

/** What a scan carries from group to group. */
interface Scan {
  readonly question: Question;
  readonly options: Options;
  readonly rules: PlaceRules;
  readonly lost: LostTally;
  /** Energy or money matters. */
  readonly priced: boolean;
  /** For each route: the filter that keeps its place out, or -1. */
  readonly out: Float64Array;
  /** The same for what a variant's crossings of one set of classes are kept out by, and the rule. */
  readonly verdicts: Map<number, Float64Array>;
  readonly ruleOf: string[];
  /** For each route, about the group at hand: time there and back (NaN where it takes no part), and its agreement. */
  readonly thereMs: Float64Array;
  readonly offered: Float64Array;
}

/**
 * Runs over all routes and options once: group by group and option by option, so that what an option or a group says is
 * read once and the routes pass by in the order of memory.
 */
export function scan(question: Question, options: Options): Findings {
  const { request, view, model, scratch } = question;
  const { objective, maxDeviceMillijoules, maxCostMicros } = request.limits;
  const { count, endpoint } = model.routes;
  const state: Scan = {
    question,
    options,
    rules: placeRules(request, view, model, options),
    lost: lostTally(count, scratch),
    priced:
      objective === "energy" ||
      objective === "cost" ||
      maxDeviceMillijoules !== undefined ||
      maxCostMicros !== undefined,
    out: scratch.take(count),
    verdicts: new Map(),
    ruleOf: [],
    thereMs: scratch.take(count),
    offered: scratch.take(count),
  };
  const findings = {
    bestScore: scratch.take(count).fill(Infinity),
    bestOption: scratch.take(count).fill(-1),
    bestGroup: scratch.take(count).fill(-1),
    kept: scratch.take(count),
    keptCount: 0,
    candidates: 0,
  };
  for (let route = 0; route < count; route++) {
    state.out[route] = state.rules.removes(route, endpoint[route] ?? -1);
  }
  const { groups } = options;
  for (let index = 0; index < groups.length; index++) {
    const group = groups[index];
    if (!group) continue;
    findings.candidates += group.size * reachGroup(state, group, index);
    for (let option = group.first; option < group.end; option++) {
      findings.keptCount += priceOption(state, findings, group, index, option);
    }
  }
  return {
    ...findings,
    removed: collectLost(state.lost, (filter, route) =>
      filter === dataClass ? state.ruleOf[route] : undefined,
    ),
  };
}

/**
 * Finds the routes that may take a group and what it takes there whatever the option. Returns the number of routes that
 * offer it at all.
 */
function reachGroup(state: Scan, group: Group, index: number): number {
  const { question, lost, thereMs, offered } = state;
  const { reading } = question;
  const { endpoints } = question.view;
  const { count, endpoint } = question.model.routes;
  const { cells, cell, removed, reply, size } = group;
  const { agreementRatio } = group.choice.variant;
  const coding = group.choice.bucket.firstCoding[group.from] ?? 0;
  const rows = count * cells.count;
  const linkRows = endpoints.count * sizeCount;
  const verdicts = verdictsOn(state, group);
  const removedAll = group.first === group.end;
  let offers = 0;
  for (let route = 0; route < count; route++) {
    thereMs[route] = NaN;
    const row = route * cells.count + cell;
    // Where it is not offered, each number of the row says so.
    const service = readBelief(cells.service, rows, row, reading);
    if (Number.isNaN(service)) continue;
    offers++;
    const filter = verdicts[route] ?? -1;
    if (filter >= 0) {
      lose(lost, filter, route, size, index, coding);
      continue;
    }
    for (let at = 0; at < removed.length; at++) {
      const one = removed[at];
      if (one) lose(lost, one.filter, route, one.count, index, one.coding);
    }
    if (removedAll) continue;
    // An offer may promise less agreement than the variant states; never more.
    offered[route] = Math.min(1, (cells.agreementRatio[row] ?? 0) / agreementRatio);
    const place = endpoint[route] ?? -1;
    thereMs[route] =
      waitMsAt(endpoints, place) +
      service * serviceRatioAt(endpoints, place) +
      readBetween(endpoints.down, linkRows, place * sizeCount + reply.index, reply.fraction, reading);
  }
  return offers;
}

/** For each route the filter that keeps a group out of it whatever it promises, or -1: asked once for groups alike. */
function verdictsOn(state: Scan, group: Group): Float64Array {
  const { rights } = state.question.request;
  const key = group.choice.position * 1024 + group.classSet;
  const known = rights ? undefined : state.verdicts.get(key);
  if (known) return known;
  const { scratch, view, model } = state.question;
  const { tierBit, infos } = view.endpoints;
  const { count, endpoint } = model.routes;
  const verdicts = scratch.take(count);
  for (let route = 0; route < count; route++) {
    const place = endpoint[route] ?? -1;
    let filter = state.out[route] ?? -1;
    if (filter < 0) {
      if (tierRemoves(group.choice.variant.tierMask, tierBit[place] ?? 0)) filter = tier;
      else if (rights && lacksRight(rights, group, infos[place])) filter = rightsFilter;
      else {
        const rule = state.rules.forbids(route, place, group.classSet);
        if (rule !== "") {
          filter = dataClass;
          state.ruleOf[route] = rule;
        }
      }
    }
    verdicts[route] = filter;
  }
  state.verdicts.set(key, verdicts);
  return verdicts;
}

function lacksRight(rights: readonly string[], group: Group, info: EndpointInfo | undefined): boolean {
  const { cuts } = group.choice.bucket;
  return rightsRemove(rights, cuts[group.from]?.id ?? "", cuts[group.to]?.id ?? "", info?.offers !== false);
}

/** Prices one option at every route that may take its group. Returns at how many no filter removed it. */
function priceOption(
  state: Scan,
  findings: Pick<Findings, "bestScore" | "bestOption" | "bestGroup" | "kept">,
  group: Group,
  index: number,
  option: number,
): number {
  const { options, priced, thereMs, offered } = state;
  const { request, view, model, reading, remainingMs } = state.question;
  const { up, count: places } = view.endpoints;
  const { count, endpoint, slowness, codecMask } = model.routes;
  const { objective, minAgreementRatio = 0, maxCostMicros, maxDeviceMillijoules } = request.limits;
  const { bestScore, bestOption, bestGroup, kept } = findings;
  const paced = objective === "throughput";
  const fixedMs = options.fixedMs[option] ?? NaN;
  const upIndex = options.upIndex[option] ?? 0;
  const upFraction = options.upFraction[option] ?? 0;
  const decodeMs = options.decodeMs[option] ?? 0;
  const needed = options.codecMask[option] ?? 0;
  const agreementRatio = options.agreementRatio[option] ?? 0;
  const accuracyRatio = options.accuracyRatio[option] ?? NaN;
  let survivors = 0;
  for (let route = 0; route < count; route++) {
    const there = thereMs[route] ?? NaN;
    if (Number.isNaN(there)) continue;
    const place = endpoint[route] ?? -1;
    const latencyMs =
      fixedMs +
      readBetween(up, places * sizeCount, place * sizeCount + upIndex, upFraction, reading) +
      there +
      decodeMs * (slowness[route] ?? 1);
    const promised = offered[route] ?? 0;
    const agreed = agreementRatio * promised;
    const row = route * group.cells.count + group.cell;
    const micros = priced ? costOf(state, group, row, place, option) : 0;
    const millijoules = priced ? energyOf(state, group, route, row, place, option) : 0;
    let filter = -1;
    if (codecRemoves(needed, codecMask[route] ?? 0)) filter = codec;
    else if (promised < 1 && agreed < minAgreementRatio) filter = agreement;
    else if (costRemoves(micros, maxCostMicros)) filter = cost;
    else if (energyRemoves(millijoules, maxDeviceMillijoules)) filter = energy;
    else if (deadlineRemoves(latencyMs, remainingMs)) filter = deadline;
    if (filter >= 0) {
      lose(state.lost, filter, route, 1, index, options.coding[option] ?? 0);
      continue;
    }
    survivors++;
    kept[route] = (kept[route] ?? 0) + 1;
    const pace = paced
      ? paceOf(state.question, stagesThere(state.question, options, group, option, route), place)
      : 0;
    const score = scoreOf(objective, latencyMs, millijoules, micros, accuracyRatio, agreed, pace);
    if (score >= (bestScore[route] ?? Infinity)) continue;
    bestScore[route] = score;
    bestOption[route] = option;
    bestGroup[route] = index;
  }
  return survivors;
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
