import type { Predicted } from "./plan.ts";
import type { Choice } from "./choices.ts";
import { countedMicrograms, hereMicrograms, runsHere, thereMicrograms } from "./carbon.ts";
import { mostLocalMicros, mostSplitMicros, remoteMicros } from "./cost.ts";
import { localMicros } from "./local-cost.ts";
import { type Group, type Options, partOf } from "./options.ts";
import type { PlanInputs } from "./plan-inputs.ts";
import type { Stages } from "../goal/index.ts";
import { type Goal, scoreOf } from "../goal/index.ts";
import { throughputScore, stagesHere, stagesThere } from "./stages.ts";
import {
  addSpread,
  copyBelief,
  copyBetween,
  copyTail,
  addSegment,
  judge,
  meanReading,
  meanValue,
  readBelief,
  readBetween,
  readingOf,
  segmentMeanMs,
  segmentMs,
  serviceRatioAt,
  sharedMsAt,
  sizeCount,
  waitMsAt,
} from "../table/index.ts";
import { type Estimate, estimateSize } from "../../words/estimate/index.ts";
import { radioTimeMillijoules } from "../estimate/index.ts";

/** A candidate with its whole distribution. */
export interface Priced {
  /** Position in the route table; -1 when everything runs here. */
  readonly route: number;
  readonly choice: Choice;
  /** The remote part; undefined if everything runs here. */
  readonly group?: Group;
  /** Position among the codings of the bucket; -1 when everything runs here. */
  readonly coding: number;
  /** Completion without any back-up: 16 values. */
  readonly values: Float64Array;
  readonly score: number;
  readonly deviceMillijoules: number;
  readonly costMicros: number;
  /** CO2 in micrograms; NaN if it is not known. */
  readonly carbonMicrograms: number;
  readonly agreementRatio: number;
  readonly accuracyRatio: number | undefined;
  readonly sentBytes: number;
  /** Where throughput is the objective. */
  readonly stages: Stages | undefined;
}

/** One that runs something elsewhere. */
export interface PricedRemote extends Priced {
  readonly group: Group;
  /** 16 values each. */
  readonly encoding: Float64Array;
  readonly up: Float64Array;
  readonly there: Float64Array;
  readonly down: Float64Array;
  /** Of `values`: how long the way there takes at its slowest. */
  readonly tail: Float64Array;
  /** Means: the local parts before and after it, encoding, and of `there` everything but the run (queue, penalty and decoding). */
  readonly localMs: number;
  readonly encodeMs: number;
  readonly waitMs: number;
  /** The part of the cost that is spent elsewhere. */
  readonly thereMicros: number;
  /** The CO2 of the run elsewhere. */
  readonly thereMicrograms: number;
}

/** Whether a candidate runs something elsewhere. */
export function isRemote(priced: Priced): priced is PricedRemote {
  return priced.group !== undefined;
}

/** Expected time to load what runs here between two cuts, in milliseconds. */
export function loadHereMs(
  { request: { first } }: PlanInputs,
  choice: Choice,
  from: number,
  to: number,
): number {
  return first && from < to ? first.loadMs(undefined, partOf(choice, from, to)) : 0;
}

/** Expected times to load a group at an endpoint, to connect to it, and of TCP's slow start on an open connection, in milliseconds. */
export function firstWaitsThere(
  { request: { first }, view, model }: PlanInputs,
  { choice, from, to }: Group,
  route: number,
): { readonly loadMs: number; readonly connectMs: number; readonly slowStartMs: number } {
  const id = view.endpoints.ids[model.routes.endpoint[route] ?? -1];
  if (!first || id === undefined) return noWaits;
  const { connectMs, slowStartMs } = first.connection(id);
  return { loadMs: first.loadMs(id, partOf(choice, from, to)), connectMs, slowStartMs };
}

/** Their sum. */
export function firstMs(inputs: PlanInputs, group: Group, route: number): number {
  const { loadMs, connectMs, slowStartMs } = firstWaitsThere(inputs, group, route);
  return loadMs + connectMs + slowStartMs;
}

const noWaits = { loadMs: 0, connectMs: 0, slowStartMs: 0 } as const;

/** 16 values of what runs here between two cuts, with the wait before a run here. */
export function localValues(inputs: PlanInputs, choice: Choice, from: number, to: number): Float64Array {
  const waitMs = inputs.view.device.queueMs + loadHereMs(inputs, choice, from, to);
  const values = inputs.scratch.beliefs.take().fill(waitMs);
  addSegment(values, choice.bucket, from, to, choice.slowness);
  return values;
}

/** The whole distribution of one remote candidate, and all other figures of its plan. */
export function priceRemote(
  inputs: PlanInputs,
  options: Options,
  group: Group,
  option: number,
  route: number,
): PricedRemote {
  const { request, view, model, goal, scratch } = inputs;
  const { device, endpoints } = view;
  const { choice, cells } = group;
  const endpoint = model.routes.endpoint[route] ?? 0;
  const thereSlowness = model.routes.slowness[route] ?? 1;
  const decodeMs = (options.decodeMeanMs[option] ?? 0) * thereSlowness;
  const waitMs = waitMsAt(endpoints, endpoint) + decodeMs + firstMs(inputs, group, route);
  const head = choice.from < group.from ? localMean(choice, choice.from, group.from) : 0;
  const tailMs = group.to < choice.to ? localMean(choice, group.to, choice.to) : 0;
  const localQueueMs = group.waitMs;
  const partsMs =
    loadHereMs(inputs, choice, choice.from, group.from) + loadHereMs(inputs, choice, group.to, choice.to);
  const encodeMs = (options.fixedMeanMs[option] ?? 0) - head - tailMs - localQueueMs;
  const slowness = Number.isNaN(choice.slowness) ? 1 : choice.slowness;
  const serviceRow = route * cells.count + group.cell;
  const up = scratch.beliefs.take();
  const there = scratch.beliefs.take();
  const down = scratch.beliefs.take();
  const linkRows = endpoints.count * sizeCount;
  const at = endpoint * sizeCount;
  const upAt = at + (options.upIndex[option] ?? 0);
  copyBetween(up, endpoints.up, linkRows, upAt, options.upFraction[option] ?? 0);
  copyBetween(down, endpoints.down, linkRows, at + group.reply.index, group.reply.fraction);
  const serviceRows = model.routes.count * cells.count;
  copyBelief(there, cells.service, serviceRows, serviceRow, serviceRatioAt(endpoints, endpoint), waitMs);
  const coding = options.coding[option] ?? -1;
  const { encode, decode } = choice.bucket.coding;
  const rows = choice.bucket.codings.length;
  const scale = options.scale[option] ?? 1;
  addSpread(there, decode, rows, coding, scale * thereSlowness);
  const encoding = scratch.beliefs.take().fill(encodeMs);
  addSpread(encoding, encode, rows, coding, scale * slowness);
  const values = scratch.beliefs.take();
  for (let index = 0; index < estimateSize; index++) {
    const elsewhere = (up[index] ?? 0) + (there[index] ?? 0) + (down[index] ?? 0);
    values[index] = localQueueMs + partsMs + (encoding[index] ?? 0) + elsewhere;
  }
  addSegment(values, choice.bucket, choice.from, group.from, slowness);
  addSegment(values, choice.bucket, group.to, choice.to, slowness);
  const rest = (values[estimateSize - 1] ?? 0) - (up[estimateSize - 1] ?? 0);
  const tail = scratch.tails.take();
  copyTail(tail, endpoints, endpoint, options.upIndex[option] ?? 0, options.upFraction[option] ?? 0, rest);
  const upMs = meanValue(up);
  const thereMs = meanValue(there);
  const downMs = meanValue(down);
  const deviceMillijoules =
    (options.deviceMillijoules[option] ?? 0) +
    radioTimeMillijoules(device, upMs + downMs, thereMs, sharedMsAt(endpoints, endpoint)) +
    meanValue(values) * device.idleWatts;
  const sentBytes = options.sentBytes[option] ?? 0;
  const thereMicros = remoteMicros(inputs, options, group, option, route);
  const costMicros = thereMicros + (options.costMicros[option] ?? 0);
  const emittedThere = view.carbon ? thereMicrograms(inputs, group, route) : NaN;
  const carbonMicrograms = emittedThere + hereMicrograms(view, deviceMillijoules, runsHere(group));
  const unpriced = model.routes.unpriced[route] === 1 ? inputs.unpricedMicros : 0;
  const accuracy = options.accuracyRatio[option] ?? NaN;
  const agreementRatio = options.agreementRatio[option] ?? 0;
  const paced = request.limits.objective === "throughput";
  const stages = paced ? stagesThere(inputs, options, group, option, route) : undefined;
  return {
    route,
    choice,
    group,
    up,
    there,
    down,
    tail,
    coding,
    encoding,
    values,
    score: goal.isPlain
      ? plainScore(goal, values)
      : scoreOf(goal, judgedBy(goal, values), {
          deviceMillijoules,
          costMicros: costMicros + unpriced,
          carbonMicrograms: countedMicrograms(inputs, carbonMicrograms),
          accuracyRatio: accuracy,
          agreementRatio,
          paceMs: stages ? throughputScore(inputs, stages, endpoint) : 0,
          remainingMs: inputs.remainingMs,
        }),
    stages,
    deviceMillijoules,
    costMicros,
    carbonMicrograms,
    thereMicrograms: emittedThere,
    thereMicros,
    agreementRatio,
    accuracyRatio: Number.isNaN(accuracy) ? undefined : accuracy,
    sentBytes,
    localMs: head + tailMs,
    encodeMs,
    waitMs,
  };
}

/** Reads the best case. */
const leastReading = readingOf(0);

/** No back-up, and no luck, makes a remote candidate quicker than this: its best case, or the best case of the rest here. */
export function leastMs(
  inputs: PlanInputs,
  options: Options,
  group: Group,
  option: number,
  route: number,
): number {
  const { view, model } = inputs;
  const { endpoints, device } = view;
  const { choice, cells } = group;
  const { bucket } = choice;
  const endpoint = model.routes.endpoint[route] ?? 0;
  const slowness = Number.isNaN(choice.slowness) ? 1 : choice.slowness;
  const serviceRow = route * cells.count + group.cell;
  const service = readBelief(cells.service, model.routes.count * cells.count, serviceRow, leastReading);
  const head = segmentMs(bucket, choice.from, group.from, leastReading) * slowness;
  const rows = endpoints.count * sizeCount;
  const at = endpoint * sizeCount;
  const upAt = at + (options.upIndex[option] ?? 0);
  const remote =
    head +
    readBetween(endpoints.up, rows, upAt, options.upFraction[option] ?? 0, leastReading) +
    readBetween(endpoints.down, rows, at + group.reply.index, group.reply.fraction, leastReading) +
    service * serviceRatioAt(endpoints, endpoint) +
    waitMsAt(endpoints, endpoint) +
    firstMs(inputs, group, route) +
    segmentMs(bucket, group.to, choice.to, leastReading) * slowness;
  if (Number.isNaN(choice.slowness)) return choice.from === group.from ? 0 : remote;
  const rest = segmentMs(bucket, group.from, choice.to, leastReading) * slowness + device.queueMs;
  return Math.min(remote, head + rest);
}

/** 16 values by each reading of the goal. */
export function judgedBy({ readings }: Goal, values: Float64Array): readonly number[] {
  return readings.map((reading) => judge(values, reading));
}

/** The score of 16 values where their one reading is all that counts. */
export function plainScore({ readings }: Goal, values: Float64Array): number {
  return judge(values, readings[0] ?? meanReading);
}

/** Mean time of what runs here between two cuts, without the wait for the device. */
export function localMean(choice: Choice, from: number, to: number): number {
  return segmentMeanMs(choice.bucket, from, to) * choice.slowness;
}

/** Everything here, from one cut to another. */
export function priceLocal(inputs: PlanInputs, choice: Choice): Priced {
  const { request, view, goal } = inputs;
  const { device } = view;
  const values = localValues(inputs, choice, choice.from, choice.to);
  const runMs = localMean(choice, choice.from, choice.to);
  const deviceMillijoules = runMs * device.activeWatts + (runMs + device.queueMs) * device.idleWatts;
  const costMicros = localMicros(device, runMs);
  const carbonMicrograms = hereMicrograms(view, deviceMillijoules, true);
  const accuracy = choice.variant.accuracyRatio;
  const stages = request.limits.objective === "throughput" ? stagesHere(choice) : undefined;
  return {
    route: -1,
    choice,
    coding: -1,
    values,
    score: goal.isPlain
      ? plainScore(goal, values)
      : scoreOf(goal, judgedBy(goal, values), {
          deviceMillijoules,
          costMicros,
          carbonMicrograms: countedMicrograms(inputs, carbonMicrograms),
          accuracyRatio: accuracy ?? NaN,
          agreementRatio: choice.agreementRatio,
          paceMs: stages ? throughputScore(inputs, stages, undefined) : 0,
          remainingMs: inputs.remainingMs,
        }),
    stages,
    deviceMillijoules,
    costMicros,
    carbonMicrograms,
    agreementRatio: choice.agreementRatio,
    accuracyRatio: accuracy,
    sentBytes: 0,
  };
}

/** The most that a candidate may cost. Computed where it is compared or told: most candidates never need it. */
export function mostMicros(inputs: PlanInputs, { choice, group, route, sentBytes }: Priced): number {
  return group
    ? mostSplitMicros(inputs, group, route, sentBytes)
    : mostLocalMicros(inputs.view.device, choice, choice.from, choice.to);
}

/** The predictions of a plan, from the price of the whole and the completion with its back-up. */
export function predictedOf(inputs: PlanInputs, priced: Priced, values: Float64Array): Predicted {
  const { carbonMicrograms } = priced;
  const predicted: Predicted = {
    completionMs: keptEstimate(inputs, values, isAssumed(inputs, priced)),
    deviceMillijoules: priced.deviceMillijoules,
    costMicros: priced.costMicros,
    mostMicros: mostMicros(inputs, priced),
    agreementRatio: priced.agreementRatio,
    accuracyRatio: priced.accuracyRatio,
    sentBytes: priced.sentBytes,
  };
  return Number.isNaN(carbonMicrograms) ? predicted : { ...predicted, carbonMicrograms };
}

/** Whether the link of a remote candidate is not measured yet. */
export function linkIsAssumed({ view, model }: PlanInputs, { route }: Priced): boolean {
  return view.endpoints.assumedLink[model.routes.endpoint[route] ?? -1] === true;
}

/** Whether the run time of a candidate at its endpoint is neither measured nor promised. */
export function runIsAssumed({ view, model }: PlanInputs, priced: Priced): boolean {
  if (!isRemote(priced)) return model.assumedHere === true;
  if (model.assumed !== true) return false;
  const at = model.routes.endpoint[priced.route] ?? -1;
  // A ratio of exactly 1: it has answered nothing yet.
  return view.endpoints.infos[at]?.offers === false && serviceRatioAt(view.endpoints, at) === 1;
}

/** Whether a part of the prediction is an assumption. */
function isAssumed(inputs: PlanInputs, priced: Priced): boolean {
  return runIsAssumed(inputs, priced) || (isRemote(priced) && linkIsAssumed(inputs, priced));
}

/** 16 values as an Estimate with the time of the view; `assumed` if no measurement or promise supports them. */
export function keptEstimate({ scratch, view }: PlanInputs, values: Float64Array, assumed = false): Estimate {
  const own = scratch.kept.take();
  own.set(values);
  return { values: own, observedAtMs: view.atMs, origin: assumed ? "prior" : "measured" };
}
