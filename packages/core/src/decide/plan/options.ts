import type { DataClass } from "../../words/base/index.ts";
import type { Reveals } from "../../words/model/index.ts";
import type { Choice } from "./choices.ts";
import { accuracyRemoves } from "./filter/accuracy.ts";
import { agreementRemoves } from "./filter/agreement.ts";
import { memoryRemoves } from "./filter/memory.ts";
import { filterIndex } from "./filter/order.ts";
import type { Part, PlanRequest } from "./request.ts";
import {
  type BucketTable,
  type CellTable,
  meanReading,
  metSize,
  type MetSize,
  readBelief,
  type Reading,
  segmentMs,
  sizeFraction,
  sizeIndex,
} from "../table/index.ts";
import { localMicros } from "./cost.ts";
import type { Question } from "./question.ts";
import { bytesMillijoules } from "../estimate/index.ts";

/** Bytes of headers and tensor descriptions around a request and around a reply. */
export const envelopeBytes = { up: 900, down: 500 } as const;

/** What a crossing gives away, for rules: the classes that cling to it (undefined: the input's own) and what it reveals. */
export interface ClassSet {
  readonly classes: readonly (DataClass | undefined)[];
  readonly reveals: Reveals;
}

/** Codings of one group that one filter removed whatever the endpoint. */
interface RemovedCodings {
  readonly filter: number;
  count: number;
  /** One of them, among the codings of the bucket. */
  readonly coding: number;
}

/** What may be done elsewhere with one segment of one variant, whoever does it. */
export interface Group {
  readonly choice: Choice;
  readonly cells: CellTable;
  /** Column in the cell table, and its cuts. */
  readonly cell: number;
  readonly from: number;
  readonly to: number;
  /** What comes back. */
  readonly reply: MetSize;
  /** Position of the crossing's classes among `Options.classSets`. */
  readonly classSet: number;
  /** What passes here without work: the queue before each local part, and what a return may meet. */
  readonly waitMs: number;
  /** Its options are `first..end`. */
  readonly first: number;
  readonly end: number;
  readonly removed: readonly RemovedCodings[];
  /** Codings in all, and the first of them in the bucket. */
  readonly size: number;
  readonly firstCoding: number;
}

/**
 * Everything of a remote candidate that does not depend on the endpoint: local parts, bytes, codec. Plain arrays of
 * numbers, because the scan reads each of them once for each endpoint; codings that no endpoint could make acceptable are not
 * among them.
 */
export interface Options {
  readonly groups: Group[];
  readonly classSets: ClassSet[];
  readonly replies: MetSize[];
  count: number;
  /** Local head, encoding, local tail, and the group's `waitMs`: by each reading of the goal, and by the mean (one column where that is a reading). */
  readonly fixedMs: readonly Float64Array[];
  readonly fixedMeanMs: Float64Array;
  readonly upIndex: Float64Array;
  readonly upFraction: Float64Array;
  readonly sentBytes: Float64Array;
  readonly codecMask: Float64Array;
  /** By each reading, and by the mean; at the speed of the profile's machine. */
  readonly decodeMs: readonly Float64Array[];
  readonly decodeMeanMs: Float64Array;
  readonly agreementRatio: Float64Array;
  readonly accuracyRatio: Float64Array;
  /** Energy of the local parts and of moving the bytes, without the time on air. */
  readonly deviceMillijoules: Float64Array;
  readonly costMicros: Float64Array;
  /** What times of codings are scaled by to the size of the crossing. */
  readonly scale: Float64Array;
  /** Position among the codings of the bucket. */
  readonly coding: Float64Array;
}

const noNumbers = new Float64Array(0);

/** Where no endpoint takes part. */
export const noOptions: Options = {
  groups: [],
  classSets: [],
  replies: [],
  count: 0,
  fixedMs: [],
  fixedMeanMs: noNumbers,
  upIndex: noNumbers,
  upFraction: noNumbers,
  sentBytes: noNumbers,
  codecMask: noNumbers,
  decodeMs: [],
  decodeMeanMs: noNumbers,
  agreementRatio: noNumbers,
  accuracyRatio: noNumbers,
  deviceMillijoules: noNumbers,
  costMicros: noNumbers,
  scale: noNumbers,
  coding: noNumbers,
};

/**
 * What comes back to this endpoint may find it at work on the back-up that started meanwhile, or on another request: so much
 * of a run of the same part here is charged for it.
 */
const returnRatio = 0.02;

/** Prices what does not depend on the endpoint. `localAllowed` is false where rules keep this endpoint from taking part. */
export function optionsOf(question: Question, choices: readonly Choice[], localAllowed: boolean): Options {
  const { request, model, scratch, goal } = question;
  let most = 0;
  for (const { position, bucketPosition } of choices) {
    most += model.routes.cells(position, bucketPosition)?.codingCount ?? 0;
  }
  const fixedMeanMs = scratch.columns.take(most);
  const decodeMeanMs = scratch.columns.take(most);
  const columnFor = (mean: Float64Array) => (reading: Reading) =>
    reading === meanReading ? mean : scratch.columns.take(most);
  const options: Options = {
    groups: [],
    classSets: [],
    replies: [],
    count: 0,
    fixedMs: goal.readings.map(columnFor(fixedMeanMs)),
    fixedMeanMs,
    upIndex: scratch.columns.take(most),
    upFraction: scratch.columns.take(most),
    sentBytes: scratch.columns.take(most),
    codecMask: scratch.columns.take(most),
    decodeMs: goal.readings.map(columnFor(decodeMeanMs)),
    decodeMeanMs,
    agreementRatio: scratch.columns.take(most),
    accuracyRatio: scratch.columns.take(most),
    deviceMillijoules: scratch.columns.take(most),
    costMicros: scratch.columns.take(most),
    scale: scratch.columns.take(most),
    coding: scratch.columns.take(most),
  };
  for (const choice of choices) {
    const cells = model.routes.cells(choice.position, choice.bucketPosition);
    if (!cells) continue;
    let leads: Uint8Array | undefined;
    for (let cell = 0; cell < cells.count; cell++) {
      const from = cells.from[cell] ?? 0;
      const to = cells.to[cell] ?? 0;
      if (from < choice.from || to > choice.to) continue;
      if (from > choice.from || to < choice.to) {
        // A step of a sequence runs whole in one endpoint: its state is nowhere else.
        if (!localAllowed || Number.isNaN(choice.slowness) || request.sequence || request.whole === true)
          continue;
        if (to < choice.to && choice.bucket.returns[to] !== 1) continue;
        if (reachedHere(choice, choice.from) < from) continue;
        if (reachedHere(choice, to) < choice.to && (leads ??= leadingOn(choice, cells))[to] !== 1) continue;
        if (!readyHere(request, choice, from, to)) continue;
      }
      addGroup(options, question, choice, cells, cell, from, to);
    }
  }
  return options;
}

/** Whether what this endpoint would run before and behind a segment is loaded. */
function readyHere({ ready }: PlanRequest, choice: Choice, from: number, to: number): boolean {
  if (!ready) return true;
  return (
    (from === choice.from || ready(undefined, partOf(choice, choice.from, from))) &&
    (reachedHere(choice, to) === to || ready(undefined, partOf(choice, to, reachedHere(choice, to))))
  );
}

/** How far this endpoint gets from a cut: to the end of the request, or to a step whose model only others have. */
export function reachedHere({ bucket, to }: Pick<Choice, "bucket" | "to">, from: number): number {
  return Math.min(to, bucket.reach[from] ?? to);
}

/**
 * For each cut, 1 where somebody has each model of others that is still to be run from there, so that none is run in vain. From the
 * last one backwards, since many ways may lead to each.
 */
export function leadingOn(
  choice: Pick<Choice, "bucket" | "to">,
  cells: Pick<CellTable, "count" | "from" | "to">,
): Uint8Array {
  const leads = new Uint8Array(choice.to + 1).fill(1, choice.to);
  for (let from = choice.to - 1; from >= 0; from--) {
    const next = reachedHere(choice, from);
    if (next >= choice.to) leads[from] = 1;
    for (let cell = 0; cell < cells.count && leads[from] === 0; cell++) {
      const to = cells.to[cell] ?? 0;
      if (cells.from[cell] === next && to > next) leads[from] = leads[Math.min(to, choice.to)] ?? 0;
    }
  }
  return leads;
}

/** What of a choice lies between two positions. */
export function partOf({ bucket, variant }: Choice, from: number, to: number): Part {
  const { cuts } = bucket;
  return { variant: variant.name, from: cuts[from]?.id ?? "", to: cuts[to]?.id ?? "" };
}

function addGroup(
  options: Options,
  question: Question,
  choice: Choice,
  cells: CellTable,
  cell: number,
  from: number,
  to: number,
): void {
  const { request, view, model } = question;
  const { device } = view;
  const { bucket, variant } = choice;
  const slowness = Number.isNaN(choice.slowness) ? 1 : choice.slowness;
  const hasHead = from > choice.from;
  const hasTail = to < choice.to;
  const returnMs = hasTail ? returnRatio * segmentMs(bucket, from, choice.to, meanReading) * slowness : 0;
  const waitMs = ((hasHead ? 1 : 0) + (hasTail ? 1 : 0)) * device.queueMs + returnMs;
  const meanMs = aroundMs(bucket, choice, from, to, meanReading) * slowness;
  const stateBytes = request.sequence?.carried === true ? model.table.stateBytes : 0;
  const replyBytes = (bucket.rawBytes[to] ?? 0) + envelopeBytes.down + stateBytes;
  const scale = hasHead ? 1 : inputScale(request, bucket, from);
  const memory =
    (hasHead || hasTail) &&
    memoryRemoves(bucket.headMemoryBytes[hasTail ? choice.to : from] ?? 0, device.memoryBytes);
  const first = options.count;
  const begin = bucket.firstCoding[from] ?? 0;
  const end = bucket.firstCoding[from + 1] ?? 0;
  let removed: readonly RemovedCodings[] = none;
  const parts = (hasHead ? 1 : 0) + (hasTail ? 1 : 0);
  const aroundMicros = parts > 0 ? localMicros(device, meanMs, parts) : 0;
  const { bytes, encode, decode, agreementRatio, codecMask } = bucket.coding;
  const rows = bucket.codings.length;
  for (let coding = begin; coding < end; coding++) {
    const agrees = agreementRatio[coding] ?? 0;
    const agreement = choice.agreementRatio * agrees;
    const accuracy = (variant.accuracyRatio ?? NaN) - (1 - agrees);
    const filter = removedBy(memory, agreement, accuracy, request);
    if (filter >= 0) {
      removed = countRemoved(removed, filter, coding);
      continue;
    }
    const sentBytes = (bytes[coding] ?? 0) * scale + envelopeBytes.up + stateBytes;
    const encodeMs = readBelief(encode, rows, coding, meanReading) * scale * slowness;
    const upIndex = sizeIndex(sentBytes);
    const option = options.count++;
    options.fixedMeanMs[option] = meanMs + encodeMs + waitMs;
    options.upIndex[option] = upIndex;
    options.upFraction[option] = sizeFraction(sentBytes, upIndex);
    options.sentBytes[option] = sentBytes;
    options.codecMask[option] = codecMask[coding] ?? 0;
    options.decodeMeanMs[option] = readBelief(decode, rows, coding, meanReading) * scale;
    options.agreementRatio[option] = agreement;
    options.accuracyRatio[option] = accuracy;
    options.deviceMillijoules[option] =
      (meanMs + encodeMs) * device.activeWatts +
      bytesMillijoules(device.radio, sentBytes, replyBytes) +
      device.radioWakeMillijoules;
    options.costMicros[option] = aroundMicros;
    options.scale[option] = scale;
    options.coding[option] = coding;
  }
  if (begin === end) return;
  const group: Group = {
    choice,
    cells,
    cell,
    from,
    to,
    reply: metSize(options.replies, replyBytes),
    classSet: classSetOf(options.classSets, bucket, from),
    waitMs,
    first,
    end: options.count,
    removed,
    size: end - begin,
    firstCoding: begin,
  };
  options.groups.push(group);
  for (let index = 0; index < question.goal.readings.length; index++) {
    readTimes(options, question.goal.readings[index] ?? meanReading, index, group, slowness);
  }
}

/** Times of a group's options by a reading that is not the mean, which is read already. */
function readTimes(options: Options, reading: Reading, index: number, group: Group, slowness: number): void {
  const fixedMs = options.fixedMs[index];
  const decodeMs = options.decodeMs[index];
  if (reading === meanReading || !fixedMs || !decodeMs) return;
  const { choice, from, to, waitMs, first, end } = group;
  const { encode, decode } = choice.bucket.coding;
  const rows = choice.bucket.codings.length;
  const judgedMs = aroundMs(choice.bucket, choice, from, to, reading) * slowness;
  for (let option = first; option < end; option++) {
    const coding = options.coding[option] ?? -1;
    const scale = options.scale[option] ?? 1;
    fixedMs[option] = judgedMs + readBelief(encode, rows, coding, reading) * scale * slowness + waitMs;
    decodeMs[option] = readBelief(decode, rows, coding, reading) * scale;
  }
}

/** What runs before and behind a segment, before scaling to this endpoint's speed. */
function aroundMs(bucket: BucketTable, choice: Choice, from: number, to: number, reading: Reading): number {
  return segmentMs(bucket, choice.from, from, reading) + segmentMs(bucket, to, choice.to, reading);
}

const none: readonly RemovedCodings[] = [];
const memoryFilter = filterIndex("memory");
const agreementFilter = filterIndex("agreement");
const accuracyFilter = filterIndex("accuracy");

function countRemoved(
  removed: readonly RemovedCodings[],
  filter: number,
  coding: number,
): readonly RemovedCodings[] {
  for (const one of removed) {
    if (one.filter !== filter) continue;
    one.count++;
    return removed;
  }
  const one = { filter, count: 1, coding };
  return removed === none ? [one] : [...removed, one];
}

/** The filter that removes a coding whatever the endpoint, or -1. */
function removedBy(memory: boolean, agreement: number, accuracy: number, request: PlanRequest): number {
  if (memory) return memoryFilter;
  if (agreementRemoves(agreement, request.limits)) return agreementFilter;
  return accuracyRemoves(accuracy, request.limits) ? accuracyFilter : -1;
}

/** The crossing that is held has a known size: what the profile says of its codings is scaled to it. */
function inputScale(request: PlanRequest, bucket: BucketTable, from: number): number {
  const raw = bucket.rawBytes[from] ?? 0;
  return raw > 0 ? request.inputBytes / raw : 1;
}

/** Position of the set among those met so far; few differ, mostly none. */
function classSetOf(sets: ClassSet[], bucket: BucketTable, cut: number): number {
  const classes = bucket.classes[cut] ?? [undefined];
  const reveals = bucket.cuts[cut]?.reveals ?? "input";
  for (let index = 0; index < sets.length; index++) {
    const one = sets[index];
    if (one?.reveals !== reveals || one.classes.length !== classes.length) continue;
    if (sameWords(classes, one.classes)) return index;
  }
  return sets.push({ classes, reveals }) - 1;
}

function sameWords(these: ClassSet["classes"], those: ClassSet["classes"]): boolean {
  if (these === those) return true;
  for (let index = 0; index < these.length; index++) if (!those.includes(these[index])) return false;
  return true;
}
