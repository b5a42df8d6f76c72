import type { Predicted } from "./plan.ts";
import type { PlanRequest } from "./request.ts";
import type { ModelView, View } from "./view.ts";
import type { Choice, Group, Options } from "./options.ts";
import { scoreOf } from "./score/score.ts";
import { sizeCount, type SizePosition } from "./table/link-table.ts";
import { type BucketTable, segmentMs } from "./table/model-table.ts";
import { addValues, judge, meanReading, type Reading, rowValues } from "./table/planes.ts";
import { type Estimate, estimateSize, meanOf } from "../estimate/index.ts";

/** Mean time of each part of a candidate, in milliseconds: what the explanation quotes. */
export interface Parts {
  readonly localMs: number;
  readonly localQueueMs: number;
  readonly encodeMs: number;
  readonly upMs: number;
  readonly thereMs: number;
  readonly downMs: number;
}

/** A finalist with its whole distribution. */
export interface Priced {
  /** Position in the route table; -1 when everything runs here. */
  readonly route: number;
  readonly choice: Choice;
  /** What runs elsewhere; undefined when everything runs here. */
  readonly group?: Group;
  readonly option: number;
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
  /** 16 values of each part that is a leg or a stage of one. */
  readonly spans: Spans;
}

/** Distributions of the parts of a candidate; empty parts are zeros. */
export interface Spans {
  readonly head: Float64Array;
  readonly up: Float64Array;
  readonly there: Float64Array;
  readonly down: Float64Array;
  readonly tail: Float64Array;
}

/** 16 values of what runs here between two cuts, times the slowness of this place. */
export function localValues(bucket: BucketTable, from: number, to: number, slowness: number): Float64Array {
  const count = bucket.cuts.length;
  if (from >= to) return new Float64Array(estimateSize);
  if (from === 0) return rowValues(bucket.head, count, to, slowness);
  if (to === count - 1) return rowValues(bucket.tail, count, from, slowness);
  const values = rowValues(bucket.head, count, to, slowness);
  const before = rowValues(bucket.head, count, from, slowness);
  return values.map((value, index) => Math.max(0, value - (before[index] ?? 0)));
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
  const { bucket } = choice;
  const place = model.routes.endpoint[route] ?? 0;
  const slowness = Number.isNaN(choice.slowness) ? 1 : choice.slowness;
  const head = localValues(bucket, choice.from, group.from, slowness);
  const tail = localValues(bucket, group.to, choice.to, slowness);
  const localParts = (group.from > choice.from ? 1 : 0) + (group.to < choice.to ? 1 : 0);
  const headMean = meanValue(head);
  const tailMean = meanValue(tail);
  const localQueueMs = localParts * device.queueMs;
  const encodeMs = (options.fixedMeanMs[option] ?? 0) - headMean - tailMean - localQueueMs;
  const size = { index: options.upIndex[option] ?? 0, fraction: options.upFraction[option] ?? 0 };
  const up = linkValues(view, place, "up", size);
  const down = linkValues(view, place, "down", group.reply);
  const waitMs = (endpoints.queueMs[place] ?? 0) + (endpoints.penaltyMs[place] ?? 0);
  const decodeMs = (options.decodeMs[option] ?? 0) * (model.routes.slowness[route] ?? 1);
  const rows = model.routes.count * cells.count;
  const row = route * cells.count + group.cell;
  const there = rowValues(cells.service, rows, row, endpoints.serviceRatio[place] ?? 1, waitMs + decodeMs);
  const values = new Float64Array(estimateSize).fill(localQueueMs + encodeMs);
  for (const part of [head, up, there, down, tail]) addValues(values, part);
  const upMs = meanValue(up);
  const downMs = meanValue(down);
  const thereMs = meanValue(there);
  const completionMs = meanValue(values);
  const deviceMillijoules =
    (options.deviceMillijoules[option] ?? 0) +
    (upMs + downMs) * device.radio.baseWatts +
    thereMs * device.radio.tailWatts +
    completionMs * device.idleWatts;
  const sentBytes = options.sentBytes[option] ?? 0;
  const costMicros =
    (cells.costMicros[row] ?? 0) +
    (options.costMicros[option] ?? 0) +
    ((endpoints.microsPerMegabyte[place] ?? 0) / 1e6) * (sentBytes + group.replyBytes);
  const accuracy = options.accuracyRatio[option] ?? NaN;
  const agreementRatio = options.agreementRatio[option] ?? 0;
  return {
    route,
    choice,
    group,
    option,
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
    parts: { localMs: headMean + tailMean, localQueueMs, encodeMs, upMs, thereMs, downMs },
    spans: { head, up, there, down, tail },
  };
}

const none: Float64Array = new Float64Array(estimateSize);

/** Everything here, from one cut to another. */
export function priceLocal(
  request: PlanRequest,
  view: View,
  choice: Choice,
  from: number,
  reading: Reading,
): Priced {
  const { device } = view;
  const run = localValues(choice.bucket, from, choice.to, choice.slowness);
  const runMs = segmentMs(choice.bucket, from, choice.to, meanReading) * choice.slowness;
  const values = run.map((value) => value + device.queueMs);
  const deviceMillijoules = runMs * device.activeWatts + (runMs + device.queueMs) * device.idleWatts;
  const costMicros = ((device.info?.rates.microsPerSecond ?? 0) / 1000) * runMs;
  const accuracy = choice.variant.accuracyRatio;
  return {
    route: -1,
    choice,
    option: -1,
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
    parts: { localMs: runMs, localQueueMs: device.queueMs, encodeMs: 0, upMs: 0, thereMs: 0, downMs: 0 },
    spans: { head: run, up: none, there: none, down: none, tail: none },
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
