import { codecRemoves } from "./filter/codec.ts";
import { countedMicrograms, gramsAt, hereMicrograms, runsHere, thereMicrograms } from "./carbon.ts";
import { mostSplitMicros, remoteMicros } from "./cost.ts";
import { costRemoves } from "./filter/cost.ts";
import { deadlineRemoves } from "./filter/deadline.ts";
import { energyRemoves } from "./filter/energy.ts";
import { filterIndex } from "./filter/order.ts";
import { type Group, type Options, partOf } from "./options.ts";
import { lose, lostColumn, type LostTally, lostTally } from "./lost-tally.ts";
import type { PlanScratch } from "./plan-scratch.ts";
import { firstMs, loadHereMs } from "./priced.ts";
import { type Scored, scoreOf } from "../goal/index.ts";
import { throughputScore, stagesThere } from "./stages.ts";
import { radioTimeMillijoules } from "../estimate/index.ts";
import type { PlanInputs } from "./plan-inputs.ts";
import { loseOf, settleLosses, type Verdict, verdictOn, verdictsOf } from "./verdicts.ts";
import {
  meanReading,
  readBelief,
  readBetween,
  type Reading,
  serviceRatioAt,
  sharedMsAt,
  sizeCount,
  waitMsAt,
} from "../table/index.ts";

/**
 * Prices every remote candidate: each route with each option that it offers.
 *
 * The obvious way builds an object with a distribution for each candidate and sorts them. That takes tens of microseconds each, and seconds
 * for a thousand endpoints. Here a candidate is a handful of numbers, read in order from flat tables. One number stands for a distribution:
 * the mean, or the quantile by which the request is judged. Sums of beliefs are comonotone (see `Estimate`), so the sum of quantiles is the
 * quantile of the sum, and nothing is approximated. Whole distributions are built only for the few finalists.
 *
 * A candidate's completion is: local head + encoding | link up | queue there, penalty, run (the endpoint's promise times its observed
 * ratio), decoding there | link down | local tail. The crossing is paid once, as one body.
 */
export interface Findings {
  /** For each route: the score of its best candidate (Infinity when none is left) and the option that it is. */
  readonly bestScore: Float64Array;
  readonly bestOption: Float64Array;
  readonly bestGroup: Float64Array;
  /** Candidates of each route that no filter removed, and in all. */
  readonly kept: Float64Array;
  readonly keptCount: number;
  /** Candidates that filters removed. */
  readonly lost: LostTally;
  /** Number of candidates. */
  readonly candidates: number;
}

const none = new Float64Array(0);

/** The findings where no other endpoint takes part. */
export function noFindings(scratch: PlanScratch): Findings {
  return {
    bestScore: none,
    bestOption: none,
    bestGroup: none,
    kept: none,
    keptCount: 0,
    lost: lostTally(0, scratch),
    candidates: 0,
  };
}

const codec = filterIndex("codec");
const agreement = filterIndex("agreement");
const cost = filterIndex("cost");
const energy = filterIndex("energy");
const deadline = filterIndex("deadline");

/** The state of a scan from group to group. */
interface Scan {
  readonly inputs: PlanInputs;
  readonly options: Options;
  readonly lost: LostTally;
  /** Energy, money or CO2 matters. */
  readonly priced: boolean;
  /** Times, for each reading of the goal. */
  readonly lenses: readonly Lens[];
  /** For each route, about the group at hand: its agreement. */
  readonly offered: Float64Array;
  /** The completion of one candidate by all readings. */
  readonly latencies: Float64Array;
  /** For each route, cost and energy of the current option, where they matter. */
  readonly micros: Float64Array;
  readonly millijoules: Float64Array;
  /** For each route, grams of CO2 of a kilowatt hour; empty where CO2 does not matter. */
  readonly grams: Float64Array;
}

/** The times of a scan by one reading of distributions. */
interface Lens {
  readonly reading: Reading;
  /** For each route, the wait before the run and the transfer back, by the size of the reply. */
  readonly aroundMs: (Float64Array | undefined)[];
  /** For each route, the time there and back of the current group, or NaN if it takes no part. */
  readonly thereMs: Float64Array;
  /** For each route, about the option at hand: completion, or NaN. */
  readonly latencyMs: Float64Array;
}

/**
 * Visits all routes and options once, group by group and option by option, so that each option is read once and routes are read in the
 * order of memory.
 */
export function scan(inputs: PlanInputs, options: Options): Findings {
  const { request, model, scratch, goal } = inputs;
  const { maxDeviceMillijoules, maxCostMicros } = request.limits;
  const { count } = model.routes;
  const lost = lostTally(count, scratch);
  const verdicts = verdictsOf(inputs, options, lost);
  const state: Scan = {
    inputs,
    options,
    lost,
    priced:
      goal.energyWeight > 0 ||
      goal.costWeight > 0 ||
      goal.carbonWeight > 0 ||
      maxDeviceMillijoules !== undefined ||
      maxCostMicros !== undefined,
    lenses: goal.readings.map((reading) => ({
      reading,
      aroundMs: [],
      thereMs: scratch.columns.take(count),
      latencyMs: scratch.columns.take(count),
    })),
    offered: scratch.columns.take(count),
    latencies: scratch.columns.take(goal.readings.length),
    micros: scratch.columns.take(count),
    millijoules: scratch.columns.take(count),
    grams: goal.carbonWeight > 0 ? gramsOf(inputs) : none,
  };
  const findings = {
    bestScore: scratch.columns.filled(count, Infinity),
    bestOption: scratch.columns.filled(count, -1),
    bestGroup: scratch.columns.filled(count, -1),
    kept: scratch.columns.filled(count, 0),
    keptCount: 0,
    lost,
    candidates: 0,
  };
  const { groups } = options;
  for (let index = 0; index < groups.length; index++) {
    const group = groups[index];
    if (!group) continue;
    const verdict = verdictOn(verdicts, group);
    findings.candidates += group.size * loseOf(verdicts, verdict, group, index);
    if (group.first === group.end) continue;
    for (const lens of state.lenses) reachGroup(state, lens, group, verdict);
    leaveOutUnready(state, group);
    if (inputs.request.first) chargeFirst(state, group);
    if (promisesLess(group)) readOffered(state, group);
    for (let option = group.first; option < group.end; option++) {
      findings.keptCount += priceOption(state, findings, group, index, option);
    }
  }
  settleLosses(verdicts);
  return findings;
}

function gramsOf({ view, model }: PlanInputs): Float64Array {
  return Float64Array.from({ length: model.routes.count }, (_, route) => gramsAt(view, model, route));
}

/** Time there and back of a group at each route, without the option: NaN if it is not offered or is excluded. */
function reachGroup({ inputs }: Scan, lens: Lens, group: Group, { filters }: Verdict): void {
  const { reading, thereMs } = lens;
  const { endpoints } = inputs.view;
  const { count, endpoint } = inputs.model.routes;
  const { cells, cell } = group;
  const { service } = cells;
  const rows = count * cells.count;
  const aroundMs = aroundOf(inputs, lens, group);
  for (let route = 0; route < count; route++) {
    if ((filters[route] ?? -1) >= 0) {
      thereMs[route] = NaN;
      continue;
    }
    // Where it is not offered, each number of the row is NaN.
    const serviceMs = readBelief(service, rows, route * cells.count + cell, reading);
    const ratio = serviceRatioAt(endpoints, endpoint[route] ?? -1);
    thereMs[route] = serviceMs * ratio + (aroundMs[route] ?? NaN);
  }
}

/** Excludes routes whose endpoint would have to load the group first, where that matters. */
function leaveOutUnready({ inputs, lenses, lost }: Scan, { choice, from, to }: Group): void {
  const { request, view, model } = inputs;
  const { ready } = request;
  if (!ready) return;
  const part = partOf(choice, from, to);
  const { count, endpoint } = model.routes;
  for (let route = 0; route < count; route++) {
    const id = view.endpoints.ids[endpoint[route] ?? -1];
    if (id !== undefined && ready(id, part)) continue;
    if (!Number.isNaN(lenses[0]?.thereMs[route] ?? NaN)) lost.unready[route] = true;
    for (const { thereMs } of lenses) thereMs[route] = NaN;
  }
}

/** Adds what has to be loaded and connected first. */
function chargeFirst({ inputs, lenses }: Scan, group: Group): void {
  const { choice, from, to } = group;
  const hereMs = loadHereMs(inputs, choice, choice.from, from) + loadHereMs(inputs, choice, to, choice.to);
  const { count } = inputs.model.routes;
  for (let route = 0; route < count; route++) {
    const waitMs = hereMs + firstMs(inputs, group, route);
    for (const { thereMs } of lenses) thereMs[route] = (thereMs[route] ?? NaN) + waitMs;
  }
}

/** For each route, the wait and the transfer back. Computed once for groups with equal replies. */
function aroundOf(
  { view, model, scratch }: PlanInputs,
  { reading, aroundMs }: Lens,
  { reply }: Group,
): Float64Array {
  const known = aroundMs[reply.at];
  if (known) return known;
  const { endpoints } = view;
  const { count, endpoint } = model.routes;
  const linkRows = endpoints.count * sizeCount;
  const around = scratch.columns.take(count);
  for (let route = 0; route < count; route++) {
    const endpointIndex = endpoint[route] ?? -1;
    const row = endpointIndex * sizeCount + reply.index;
    around[route] =
      waitMsAt(endpoints, endpointIndex) +
      readBetween(endpoints.down, linkRows, row, reply.fraction, reading);
  }
  return (aroundMs[reply.at] = around);
}

/** Whether some offer promises less agreement than the variant states. It never promises more; most promise the same. */
function promisesLess({ cells, choice }: Group): boolean {
  return cells.leastAgreementRatio < choice.variant.agreementRatio;
}

function readOffered({ inputs, offered }: Scan, { cells, cell, choice }: Group): void {
  const { count } = inputs.model.routes;
  for (let route = 0; route < count; route++) {
    const promised = cells.agreementRatio[route * cells.count + cell] ?? 0;
    offered[route] = Math.min(1, promised / choice.variant.agreementRatio);
  }
}

/**
 * Prices one option at every route that may take its group: column by column, because a short loop over numbers is what
 * the compiler makes the most of. Returns at how many routes no filter removed it.
 */
function priceOption(
  state: Scan,
  findings: Pick<Findings, "bestScore" | "bestOption" | "bestGroup" | "kept">,
  group: Group,
  index: number,
  option: number,
): number {
  const { options, lost, lenses } = state;
  const { goal, model, allowedMs } = state.inputs;
  const { bestScore, bestOption, bestGroup, kept } = findings;
  const { count, codecMask } = model.routes;
  const needed = options.codecMask[option] ?? 0;
  const limited = state.priced || promisesLess(group);
  for (let index = 0; index < lenses.length; index++) readLatency(state, index, option);
  const latencyMs = lenses[0]?.latencyMs ?? none;
  const judgedMs = lenses[goal.deadlineAt]?.latencyMs ?? none;
  if (state.priced) readCosts(state, group, option);
  let survivors = 0;
  for (let route = 0; route < count; route++) {
    const latency = latencyMs[route] ?? NaN;
    if (Number.isNaN(latency)) continue;
    let filter = -1;
    if (codecRemoves(needed, codecMask[route] ?? 0)) filter = codec;
    else if (limited) filter = limitRemoving(state, group, option, route);
    if (filter < 0 && deadlineRemoves(judgedMs[route] ?? NaN, allowedMs)) filter = deadline;
    if (filter >= 0) {
      lose(lostColumn(lost, filter), route, 1, index, options.coding[option] ?? 0);
      continue;
    }
    survivors++;
    kept[route] = (kept[route] ?? 0) + 1;
    const score = goal.isPlain ? latency : scoreAt(state, group, option, route);
    if (score >= (bestScore[route] ?? Infinity)) continue;
    bestScore[route] = score;
    bestOption[route] = option;
    bestGroup[route] = index;
  }
  return survivors;
}

function readLatency({ inputs, options, lenses }: Scan, lens: number, option: number): void {
  const { view, model } = inputs;
  const { reading = meanReading, thereMs = none, latencyMs = none } = lenses[lens] ?? {};
  const { up, count: endpointCount } = view.endpoints;
  const { count, endpoint, slowness } = model.routes;
  const rows = endpointCount * sizeCount;
  const fixedMs = options.fixedMs[lens]?.[option] ?? NaN;
  const upIndex = options.upIndex[option] ?? 0;
  const upFraction = options.upFraction[option] ?? 0;
  const decodeMs = options.decodeMs[lens]?.[option] ?? 0;
  for (let route = 0; route < count; route++) {
    const row = (endpoint[route] ?? -1) * sizeCount + upIndex;
    const upMs = readBetween(up, rows, row, upFraction, reading);
    latencyMs[route] = fixedMs + upMs + (thereMs[route] ?? NaN) + decodeMs * (slowness[route] ?? 1);
  }
}

function readCosts({ inputs, options, micros, millijoules }: Scan, group: Group, option: number): void {
  const { count, endpoint } = inputs.model.routes;
  for (let route = 0; route < count; route++) {
    const endpointIndex = endpoint[route] ?? -1;
    micros[route] = remoteMicros(inputs, options, group, option, route) + (options.costMicros[option] ?? 0);
    millijoules[route] = energyOf(inputs, options, group, route, endpointIndex, option);
  }
}

/** The filter that removes a candidate by a limit of the request other than the deadline, or -1. */
function limitRemoving(state: Scan, group: Group, option: number, route: number): number {
  const { minAgreementRatio = 0, maxCostMicros, maxDeviceMillijoules } = state.inputs.request.limits;
  if (promisesLess(group) && agreedAt(state, group, option, route) < minAgreementRatio) return agreement;
  if (!state.priced) return -1;
  if (maxCostMicros !== undefined) {
    const sentBytes = state.options.sentBytes[option] ?? 0;
    if (costRemoves(mostSplitMicros(state.inputs, group, route, sentBytes), maxCostMicros)) return cost;
  }
  return energyRemoves(state.millijoules[route] ?? 0, maxDeviceMillijoules) ? energy : -1;
}

function agreedAt({ options, offered }: Scan, group: Group, option: number, route: number): number {
  return (options.agreementRatio[option] ?? 0) * (promisesLess(group) ? (offered[route] ?? 0) : 1);
}

function scoreAt(state: Scan, group: Group, option: number, route: number): number {
  const { inputs, options, priced, lenses, latencies } = state;
  const { goal, remainingMs } = inputs;
  const endpointIndex = inputs.model.routes.endpoint[route] ?? -1;
  for (let index = 0; index < lenses.length; index++)
    latencies[index] = lenses[index]?.latencyMs[route] ?? NaN;
  const paced = goal.kind === "throughput";
  const unpriced = inputs.model.routes.unpriced[route] === 1 ? inputs.unpricedMicros : 0;
  const scored: Scored = {
    deviceMillijoules: priced ? (state.millijoules[route] ?? 0) : 0,
    costMicros: priced ? (state.micros[route] ?? 0) + unpriced : 0,
    carbonMicrograms: goal.carbonWeight > 0 ? emittedAt(state, group, route) : 0,
    accuracyRatio: options.accuracyRatio[option] ?? NaN,
    agreementRatio: agreedAt(state, group, option, route),
    paceMs: paced
      ? throughputScore(inputs, stagesThere(inputs, options, group, option, route), endpointIndex)
      : 0,
    remainingMs,
  };
  return scoreOf(goal, latencies, scored);
}

function emittedAt({ inputs, millijoules, grams }: Scan, group: Group, route: number): number {
  const there = thereMicrograms(inputs, group, route, grams[route] ?? NaN);
  const here = hereMicrograms(inputs.view, millijoules[route] ?? 0, runsHere(group));
  return countedMicrograms(inputs, there + here);
}

/** Energy of this device, always by means: local parts, bytes, radio while it sends, waits and receives, idling. */
function energyOf(
  { view, model }: PlanInputs,
  options: Options,
  group: Group,
  route: number,
  endpointIndex: number,
  option: number,
): number {
  const { endpoints, device } = view;
  const { routes } = model;
  const { cells, reply } = group;
  const row = route * cells.count + group.cell;
  const rows = endpoints.count * sizeCount;
  const at = endpointIndex * sizeCount;
  const upAt = at + (options.upIndex[option] ?? 0);
  const onAirMs =
    readBetween(endpoints.up, rows, upAt, options.upFraction[option] ?? 0, meanReading) +
    readBetween(endpoints.down, rows, at + reply.index, reply.fraction, meanReading);
  const awaitedMs =
    waitMsAt(endpoints, endpointIndex) +
    readBelief(cells.service, routes.count * cells.count, row, meanReading) *
      serviceRatioAt(endpoints, endpointIndex) +
    (options.decodeMeanMs[option] ?? 0) * (routes.slowness[route] ?? 1);
  return (
    (options.deviceMillijoules[option] ?? 0) +
    radioTimeMillijoules(device, onAirMs, awaitedMs, sharedMsAt(endpoints, endpointIndex)) +
    (onAirMs + awaitedMs + (options.fixedMeanMs[option] ?? 0)) * device.idleWatts
  );
}
