import type { Predicted } from "./plan.ts";
import type { PlanRequest } from "./request.ts";
import type { ModelView, View } from "./view.ts";
import type { Choice } from "./choices.ts";
import type { Group, Options } from "./options.ts";
import { scoreOf } from "./score/score.ts";
import {
  type BucketTable,
  judge,
  meanReading,
  type Reading,
  rowValues,
  segmentMs,
  sizeCount,
  type SizePosition,
} from "../table/index.ts";
import { type Estimate, estimateSize, meanOf } from "../estimate/index.ts";

/** Mean time of each part of a candidate, in milliseconds: what the explanation quotes. */
export interface Parts {
  readonly localMs: number;
  readonly localQueueMs: number;
  readonly encodeMs: number;
  readonly upMs: number;
  readonly thereMs: number;
  readonly downMs: number;
  /** Of `thereMs`, what is not the run: queue, penalty and decoding. */
  readonly waitMs: number;
}

/** A finalist with its whole distribution. */
export interface Priced {
  /** Position in the route table; -1 when everything runs here. */
  readonly route: number;
  readonly choice: Choice;
  /** What runs elsewhere; undefined when everything runs here. */
  readonly group?: Group;
  readonly upSize: SizePosition;
  /** Position among the codings of the bucket; -1 when everything runs here. */
  readonly coding: number;
  /** Completion without any back-up: 16 values. */
  readonly values: Float64Array;
  readonly score: number;
  readonly deviceMillijoules: number;
  readonly costMicros: number;
  readonly agreementRatio: number;
  readonly accuracyRatio: number | undefined;
  readonly sentBytes: number;
  readonly parts: Parts;
}

/** Distributions of the parts of a remote candidate. */
export interface Spans {
  readonly up: Float64Array;
  readonly there: Float64Array;
  readonly down: Float64Array;
}

/** 16 values of what runs here between two cuts, times the slowness of this place, after a wait. */
export function localValues(
  bucket: BucketTable,
  from: number,
  to: number,
  slowness: number,
  waitMs = 0,
): Float64Array {
  const values = new Float64Array(estimateSize);
  for (let plane = 0; plane < estimateSize; plane++) {
    values[plane] = localAt(bucket, from, to, plane) * slowness + waitMs;
  }
  return values;
}

/** 16 values of moving bytes to or from a place. */
export function linkValues(
  view: View,
  place: number,
  direction: "up" | "down",
  size: SizePosition,
): Float64Array {
  const planes = view.endpoints[direction];
  const rows = view.endpoints.count * sizeCount;
  const row = place * sizeCount + size.index;
  const values = rowValues(planes, rows, row);
  const next = rowValues(planes, rows, row + 1);
  for (let index = 0; index < estimateSize; index++) {
    const low = values[index] ?? 0;
    values[index] = low + size.fraction * ((next[index] ?? 0) - low);
  }
  return values;
}

/** The whole distribution of one remote candidate, and everything else that a plan says of it. */
export function priceRemote(
  request: PlanRequest,
  view: View,
  model: ModelView,
  options: Options,
  group: Group,
  option: number,
  route: number,
  reading: Reading,
): Priced {
  const { device, endpoints } = view;
  const { choice, cells } = group;
  const place = model.routes.endpoint[route] ?? 0;
  const waitMs = (endpoints.queueMs[place] ?? 0) + (endpoints.penaltyMs[place] ?? 0);
  const decodeMs = (options.decodeMs[option] ?? 0) * (model.routes.slowness[route] ?? 1);
  const head = choice.from < group.from ? localMean(choice, choice.from, group.from) : 0;
  const tail = group.to < choice.to ? localMean(choice, group.to, choice.to) : 0;
  const waits = (choice.from < group.from ? 1 : 0) + (group.to < choice.to ? 1 : 0);
  const localQueueMs = waits * device.queueMs;
  const encodeMs = (options.fixedMeanMs[option] ?? 0) - head - tail - localQueueMs;
  const values = new Float64Array(estimateSize);
  const slowness = Number.isNaN(choice.slowness) ? 1 : choice.slowness;
  const serviceRows = model.routes.count * cells.count;
  const serviceRow = route * cells.count + group.cell;
  const ratio = endpoints.serviceRatio[place] ?? 1;
  const linkRows = endpoints.count * sizeCount;
  const upRow = place * sizeCount + (options.upIndex[option] ?? 0);
  const upFraction = options.upFraction[option] ?? 0;
  const downRow = place * sizeCount + group.reply.index;
  let upMs = 0;
  let downMs = 0;
  let thereMs = 0;
  for (let plane = 0; plane < estimateSize; plane++) {
    const up = linkAt(endpoints.up, plane * linkRows + upRow, upFraction);
    const down = linkAt(endpoints.down, plane * linkRows + downRow, group.reply.fraction);
    const there = (cells.service[plane * serviceRows + serviceRow] ?? NaN) * ratio + waitMs + decodeMs;
    upMs += up / estimateSize;
    downMs += down / estimateSize;
    thereMs += there / estimateSize;
    values[plane] =
      localQueueMs +
      encodeMs +
      localAt(choice.bucket, choice.from, group.from, plane) * slowness +
      localAt(choice.bucket, group.to, choice.to, plane) * slowness +
      up +
      there +
      down;
  }
  const completionMs = meanValue(values);
  const deviceMillijoules =
    (options.deviceMillijoules[option] ?? 0) +
    (upMs + downMs) * device.radio.baseWatts +
    thereMs * device.radio.tailWatts +
    completionMs * device.idleWatts;
  const sentBytes = options.sentBytes[option] ?? 0;
  const costMicros =
    (cells.costMicros[serviceRow] ?? 0) +
    (options.costMicros[option] ?? 0) +
    ((endpoints.microsPerMegabyte[place] ?? 0) / 1e6) * (sentBytes + group.replyBytes);
  const accuracy = options.accuracyRatio[option] ?? NaN;
  const agreementRatio = options.agreementRatio[option] ?? 0;
  return {
    route,
    choice,
    group,
    upSize: { index: options.upIndex[option] ?? 0, fraction: upFraction },
    coding: options.coding[option] ?? -1,
    values,
    score: scoreOf(
      request.limits.objective,
      judge(values, reading),
      deviceMillijoules,
      costMicros,
      accuracy,
      agreementRatio,
    ),
    deviceMillijoules,
    costMicros,
    agreementRatio,
    accuracyRatio: Number.isNaN(accuracy) ? undefined : accuracy,
    sentBytes,
    parts: { localMs: head + tail, localQueueMs, encodeMs, upMs, thereMs, downMs, waitMs: waitMs + decodeMs },
  };
}

/** No back-up, and no luck, makes a remote candidate quicker than this: its best case, or the best case of the rest here. */
export function leastMs(
  view: View,
  model: ModelView,
  options: Options,
  group: Group,
  option: number,
  route: number,
): number {
  const { endpoints, device } = view;
  const { choice, cells } = group;
  const place = model.routes.endpoint[route] ?? 0;
  const slowness = Number.isNaN(choice.slowness) ? 1 : choice.slowness;
  const waitMs = (endpoints.queueMs[place] ?? 0) + (endpoints.penaltyMs[place] ?? 0);
  const service = cells.service[route * cells.count + group.cell] ?? 0;
  const head = localAt(choice.bucket, choice.from, group.from, 0) * slowness;
  const at = place * sizeCount;
  const remote =
    head +
    linkAt(endpoints.up, at + (options.upIndex[option] ?? 0), options.upFraction[option] ?? 0) +
    linkAt(endpoints.down, at + group.reply.index, group.reply.fraction) +
    service * (endpoints.serviceRatio[place] ?? 1) +
    waitMs +
    localAt(choice.bucket, group.to, choice.to, 0) * slowness;
  if (Number.isNaN(choice.slowness)) return choice.from === group.from ? 0 : remote;
  const rest = localAt(choice.bucket, group.from, choice.to, 0) * slowness + device.queueMs;
  return Math.min(remote, head + rest);
}

/** The parts of a remote candidate one by one, for its legs. */
export function spansOf(view: View, model: ModelView, priced: Priced): Spans {
  const { group, route, parts } = priced;
  const place = model.routes.endpoint[route] ?? 0;
  if (!group) return { up: none, there: none, down: none };
  const rows = model.routes.count * group.cells.count;
  return {
    up: linkValues(view, place, "up", priced.upSize),
    there: rowValues(
      group.cells.service,
      rows,
      route * group.cells.count + group.cell,
      view.endpoints.serviceRatio[place] ?? 1,
      parts.waitMs,
    ),
    down: linkValues(view, place, "down", group.reply),
  };
}

function linkAt(planes: Float64Array, at: number, fraction: number): number {
  const low = planes[at] ?? NaN;
  return low + fraction * ((planes[at + 1] ?? NaN) - low);
}

/** One value of what runs here between two cuts, on the profile's machine. */
function localAt(bucket: BucketTable, from: number, to: number, plane: number): number {
  const count = bucket.cuts.length;
  if (from >= to) return 0;
  if (from === 0) return bucket.head[plane * count + to] ?? NaN;
  if (to === count - 1) return bucket.tail[plane * count + from] ?? NaN;
  return Math.max(0, (bucket.head[plane * count + to] ?? NaN) - (bucket.head[plane * count + from] ?? NaN));
}

function localMean(choice: Choice, from: number, to: number): number {
  return segmentMs(choice.bucket, from, to, meanReading) * choice.slowness;
}

const none: Float64Array = new Float64Array(estimateSize);
const nowhere: SizePosition = { index: 0, fraction: 0 };

/** Everything here, from one cut to another. */
export function priceLocal(
  request: PlanRequest,
  view: View,
  choice: Choice,
  from: number,
  reading: Reading,
): Priced {
  const { device } = view;
  const values = localValues(choice.bucket, from, choice.to, choice.slowness, device.queueMs);
  const runMs = localMean(choice, from, choice.to);
  const deviceMillijoules = runMs * device.activeWatts + (runMs + device.queueMs) * device.idleWatts;
  const costMicros = ((device.info?.rates.microsPerSecond ?? 0) / 1000) * runMs;
  const accuracy = choice.variant.accuracyRatio;
  return {
    route: -1,
    choice,
    upSize: nowhere,
    coding: -1,
    values,
    score: scoreOf(
      request.limits.objective,
      judge(values, reading),
      deviceMillijoules,
      costMicros,
      accuracy ?? NaN,
      choice.agreementRatio,
    ),
    deviceMillijoules,
    costMicros,
    agreementRatio: choice.agreementRatio,
    accuracyRatio: accuracy,
    sentBytes: 0,
    parts: {
      localMs: runMs,
      localQueueMs: device.queueMs,
      encodeMs: 0,
      upMs: 0,
      thereMs: 0,
      downMs: 0,
      waitMs: 0,
    },
  };
}

/** What a plan says of itself, from the price of the whole and the completion with its back-up. */
export function predictedOf(priced: Priced, atMs: number, values: Float64Array): Predicted {
  return {
    completionMs: estimateAt(values, atMs),
    deviceMillijoules: priced.deviceMillijoules,
    costMicros: priced.costMicros,
    agreementRatio: priced.agreementRatio,
    accuracyRatio: priced.accuracyRatio,
    sentBytes: priced.sentBytes,
  };
}

/** 16 values as an Estimate made at an instant. */
export function estimateAt(values: Float64Array, atMs: number): Estimate {
  return { values, observedAtMs: atMs, origin: "measured" };
}

/** Mean of 16 values. */
export function meanValue(values: Float64Array): number {
  return meanOf({ values, observedAtMs: 0, origin: "prior" });
}
