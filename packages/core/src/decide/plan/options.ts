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
import { localMicros } from "./local-cost.ts";
import type { PlanInputs } from "./plan-inputs.ts";
import { bytesMillijoules } from "../estimate/index.ts";

/** Bytes of headers and tensor descriptions around a request and around a reply. */
export const envelopeBytes = { up: 900, down: 500 } as const;

/** The properties of a crossing that rules read. */
export interface ClassSet {
  /** Classes of the data in it; undefined for the class of the input. */
  readonly classes: readonly (DataClass | undefined)[];
  /** How much it reveals of the input. */
  readonly reveals: Reveals;
}

/** Codings of one group that one filter removed for every endpoint. */
interface RemovedCodings {
  /** Position in the order of filters. */
  readonly filter: number;
  /** How many the filter removed. */
  count: number;
  /** The first of them, among the codings of the bucket. */
  readonly coding: number;
}

/** One segment of one variant that another endpoint may run, with its codings. */
export interface Group {
  readonly choice: Choice;
  readonly cells: CellTable;
  /** Column in the cell table. */
  readonly cell: number;
  /** Position of the cut where the segment begins. */
  readonly from: number;
  /** Position of the cut where it ends. */
  readonly to: number;
  /** Size of the reply. */
  readonly reply: MetSize;
  /** Position of the crossing's classes among `Options.classSets`. */
  readonly classSet: number;
  /** Waiting time on this device: its queue before each local part, and the expected wait of a returning result. */
  readonly waitMs: number;
  /** Its first option. */
  readonly first: number;
  /** The option after its last. */
  readonly end: number;
  /** Its codings that are not among the options, one entry for each filter. */
  readonly removed: readonly RemovedCodings[];
  /** Number of its codings, removed ones included. */
  readonly size: number;
  /** Its first coding, among the codings of the bucket. */
  readonly firstCoding: number;
}

/**
 * Everything of a remote candidate that does not depend on the endpoint: local parts, bytes, codec. The scan reads each number once for each
 * endpoint, so they are plain arrays, one element per option. Codings that no endpoint could make acceptable are left out.
 */
export interface Options {
  readonly groups: Group[];
  readonly classSets: ClassSet[];
  /** The sizes of replies that differ. */
  readonly replies: MetSize[];
  /** Number of options. */
  count: number;
  /** Local head, encoding, local tail and the group's `waitMs`, for each reading of the goal. */
  readonly fixedMs: readonly Float64Array[];
  /** The same by the mean. It is one of `fixedMs` if the mean is a reading of the goal. */
  readonly fixedMeanMs: Float64Array;
  /** Where `sentBytes` lies among the sizes of a link's table: `SizePosition.index`. */
  readonly upIndex: Float64Array;
  /** The same: `SizePosition.fraction`. */
  readonly upFraction: Float64Array;
  /** Bytes of the request, envelope and sequence state included. */
  readonly sentBytes: Float64Array;
  /** The bit of the codec. */
  readonly codecMask: Float64Array;
  /** Time to decode at the speed of the profile's machine, for each reading of the goal. */
  readonly decodeMs: readonly Float64Array[];
  /** The same by the mean. */
  readonly decodeMeanMs: Float64Array;
  /** Agreement with the unencoded model, variant included. */
  readonly agreementRatio: Float64Array;
  /** Accuracy that is left; NaN if the variant states none. */
  readonly accuracyRatio: Float64Array;
  /** Energy of the local parts and of moving the bytes, without the time on air. */
  readonly deviceMillijoules: Float64Array;
  /** Cost of the local parts. */
  readonly costMicros: Float64Array;
  /** Factor from the crossing of the profile to this one, for times and sizes. */
  readonly scale: Float64Array;
  /** Position among the codings of the bucket. */
  readonly coding: Float64Array;
}

const noNumbers = new Float64Array(0);

/** The options where no other endpoint takes part. */
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
 * Share of a local run that is charged for the return of a result: the device may be at work on the back-up that started
 * meanwhile, or on another request.
 */
const returnRatio = 0.02;

/** Prices everything that does not depend on the endpoint. `localAllowed` is false if rules forbid this device to take part. */
export function optionsOf(inputs: PlanInputs, choices: readonly Choice[], localAllowed: boolean): Options {
  const { request, model, scratch, goal } = inputs;
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
        // A step of a sequence runs whole at one endpoint, since no other endpoint has its state.
        if (!localAllowed || Number.isNaN(choice.slowness) || request.sequence || request.whole === true)
          continue;
        if (to < choice.to && choice.bucket.returns[to] !== 1) continue;
        if (reachedHere(choice, choice.from) < from) continue;
        if (reachedHere(choice, to) < choice.to && (leads ??= leadingOn(choice, cells))[to] !== 1) continue;
        if (!readyHere(request, choice, from, to)) continue;
      }
      addGroup(options, inputs, choice, cells, cell, from, to);
    }
  }
  return options;
}

/** Whether the parts that this device would run before and after a segment are loaded. */
function readyHere({ ready }: PlanRequest, choice: Choice, from: number, to: number): boolean {
  if (!ready) return true;
  return (
    (from === choice.from || ready(undefined, partOf(choice, choice.from, from))) &&
    (reachedHere(choice, to) === to || ready(undefined, partOf(choice, to, reachedHere(choice, to))))
  );
}

/** The end of a choice, and how far this device can run from each of its cuts. */
interface Reach {
  readonly bucket: Pick<Choice["bucket"], "reach">;
  readonly to: number;
}

/** How far this device can run from a cut: to the end of the request, or to a step whose model only other endpoints have. */
export function reachedHere({ bucket, to }: Reach, from: number): number {
  return Math.min(to, bucket.reach[from] ?? to);
}

/**
 * For each cut, 1 if some endpoint has each model that this device lacks and that must still run after the cut; otherwise the work before it
 * would be lost. Computed from the last cut backwards, since many paths may lead to each.
 */
export function leadingOn(
  choice: Reach,
  cells: { readonly count: number; readonly from: ArrayLike<number>; readonly to: ArrayLike<number> },
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

/** The part of a choice between two cuts. */
export function partOf({ bucket, variant }: Choice, from: number, to: number): Part {
  const { cuts } = bucket;
  return { variant: variant.name, from: cuts[from]?.id ?? "", to: cuts[to]?.id ?? "" };
}

function addGroup(
  options: Options,
  inputs: PlanInputs,
  choice: Choice,
  cells: CellTable,
  cell: number,
  from: number,
  to: number,
): void {
  const { request, view, model } = inputs;
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
  for (let index = 0; index < inputs.goal.readings.length; index++) {
    readTimes(options, inputs.goal.readings[index] ?? meanReading, index, group, slowness);
  }
}

/** Fills in the times of a group's options for a reading other than the mean. */
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

/** Time of what runs before and after a segment, at the speed of the profile's machine. */
function aroundMs(bucket: BucketTable, choice: Choice, from: number, to: number, reading: Reading): number {
  return segmentMs(bucket, choice.from, from, reading) + segmentMs(bucket, to, choice.to, reading);
}

const none: readonly RemovedCodings[] = [];
const memoryFilter = filterIndex("memory");
const agreementFilter = filterIndex("agreement");
const accuracyFilter = filterIndex("accuracy");

/** Counts a coding under the filter that removed it. Returns the same list, or a longer one. */
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

/** The filter that removes a coding for every endpoint, or -1. */
function removedBy(memory: boolean, agreement: number, accuracy: number, request: PlanRequest): number {
  if (memory) return memoryFilter;
  if (agreementRemoves(agreement, request.limits)) return agreementFilter;
  return accuracyRemoves(accuracy, request.limits) ? accuracyFilter : -1;
}

/** Factor from the crossing of the profile to the input at hand, whose size is known. */
function inputScale(request: PlanRequest, bucket: BucketTable, from: number): number {
  const raw = bucket.rawBytes[from] ?? 0;
  return raw > 0 ? request.inputBytes / raw : 1;
}

/** Position of the set among those seen so far. Few differ. */
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
