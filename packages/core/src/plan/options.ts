import type { DataClass } from "../base/index.ts";
import type { Reveals } from "../model/index.ts";
import type { Radio, View, ModelView } from "./view.ts";
import type { PlanRequest } from "./request.ts";
import { type SizePosition, sizePosition } from "./table/link-table.ts";
import {
  type BucketTable,
  bucketFor,
  bucketWithCut,
  segmentMs,
  tierBit,
  type VariantTable,
} from "./table/model-table.ts";
import { meanReading, type Reading } from "./table/planes.ts";
import type { CellTable } from "./table/route-table.ts";
import { agreementRemoves, agreementOfVariant } from "./filter/agreement.ts";
import { accuracyRemoves } from "./filter/accuracy.ts";
import { memoryRemoves } from "./filter/memory.ts";
import { filterIndex } from "./filter/order.ts";
import { tierRemoves } from "./filter/tier.ts";

/** Bytes of headers and tensor descriptions around a request and around a reply. */
export const envelopeBytes = { up: 900, down: 500 } as const;

/** What a crossing gives away, for rules: the classes that cling to it (undefined: the input's own) and what it reveals. */
export interface ClassSet {
  readonly classes: readonly (DataClass | undefined)[];
  readonly reveals: Reveals;
}

/** One variant as it can be used for this request: the bucket of the input, and which of its cuts still lie ahead. */
export interface Choice {
  readonly variant: VariantTable;
  /** Position among the variants of the model table. */
  readonly position: number;
  readonly bucket: BucketTable;
  readonly bucketPosition: number;
  /** Positions of the request's cuts in the bucket. */
  readonly from: number;
  readonly to: number;
  /** Time here over time in the profile; NaN where it cannot run here. */
  readonly slowness: number;
  readonly agreementRatio: number;
}

/** What may be done remotely with one segment of one variant, whoever does it. */
export interface Group {
  readonly choice: Choice;
  readonly cells: CellTable;
  /** Column in the cell table, and its cuts. */
  readonly cell: number;
  readonly from: number;
  readonly to: number;
  readonly reply: SizePosition;
  readonly replyBytes: number;
  /** Position of the crossing's classes among `Options.classSets`. */
  readonly classSet: number;
  /** Its options are `first..end`. */
  readonly first: number;
  readonly end: number;
}

/**
 * Everything of a remote candidate that does not depend on the place: local parts, bytes, codec. Plain arrays of
 * numbers, because the scan reads each of them once for each place.
 */
export interface Options {
  readonly groups: readonly Group[];
  readonly count: number;
  /** Local head, encoding, local tail, and the queue here before each local part; judged, and by the mean. */
  readonly fixedMs: readonly number[];
  readonly fixedMeanMs: readonly number[];
  readonly upIndex: readonly number[];
  readonly upFraction: readonly number[];
  readonly sentBytes: readonly number[];
  readonly codecMask: readonly number[];
  readonly decodeMs: readonly number[];
  readonly agreementRatio: readonly number[];
  readonly accuracyRatio: readonly number[];
  /** Energy of the local parts and of moving the bytes, without the time on air. */
  readonly deviceMillijoules: readonly number[];
  readonly costMicros: readonly number[];
  /** Position among the codings of the bucket. */
  readonly coding: readonly number[];
  /** Filter that removed it whatever the place, or -1. */
  readonly removed: readonly number[];
  readonly classSets: readonly ClassSet[];
}

/** The variants that the request may use at all, each with the bucket that its input falls into. */
export function choicesOf(request: PlanRequest, view: View, model: ModelView): readonly Choice[] {
  const choices: Choice[] = [];
  const limits = request.limits;
  for (const [position, variant] of model.table.variants.entries()) {
    if (limits.variant !== undefined && variant.name !== limits.variant) continue;
    const start = request.from === "start";
    const bucketPosition = start
      ? bucketFor(variant, request.features)
      : bucketWithCut(variant, request.features, request.from);
    const bucket = variant.buckets[bucketPosition];
    if (!bucket) continue;
    const from = start ? 0 : bucket.index.get(request.from);
    const to = request.to === "end" ? bucket.cuts.length - 1 : bucket.index.get(request.to);
    if (from === undefined || to === undefined || from >= to) continue;
    choices.push({
      variant,
      position,
      bucket,
      bucketPosition,
      from,
      to,
      slowness: holds(view, variant) ? (model.localSlowness[position] ?? NaN) : NaN,
      agreementRatio: agreementOfVariant(variant, model.table.variants[0], limits),
    });
  }
  return choices;
}

/** A tier that may not hold a variant runs no part of it. */
function holds(view: View, variant: VariantTable): boolean {
  const { info } = view.device;
  return info !== undefined && !tierRemoves(variant.tierMask, tierBit(info.tier));
}

/** Energy of moving bytes over the air, without the time it takes, in millijoules. */
export function bytesMillijoules(radio: Radio, up: number, down: number): number {
  return (radio.upMillijoulesPerMegabit * up + radio.downMillijoulesPerMegabit * down) * 8e-6;
}

/** Prices what does not depend on the place. `localAllowed` is false where rules keep this place from taking part. */
export function optionsOf(
  request: PlanRequest,
  view: View,
  model: ModelView,
  choices: readonly Choice[],
  localAllowed: boolean,
  reading: Reading,
): Options {
  const { device } = view;
  const groups: Group[] = [];
  const classSets: ClassSet[] = [];
  const fixedMs: number[] = [];
  const fixedMeanMs: number[] = [];
  const upIndex: number[] = [];
  const upFraction: number[] = [];
  const sentBytes: number[] = [];
  const codecMask: number[] = [];
  const decodeMs: number[] = [];
  const agreementRatio: number[] = [];
  const accuracyRatio: number[] = [];
  const deviceMillijoules: number[] = [];
  const costMicros: number[] = [];
  const codings: number[] = [];
  const removed: number[] = [];
  const stateBytes = request.sequence?.carried === true ? model.table.stateBytes : 0;
  const localMicrosPerMs = (device.info?.rates.microsPerSecond ?? 0) / 1000;
  for (const choice of choices) {
    const { bucket, variant, slowness } = choice;
    const cells = model.routes.cells[choice.position]?.[choice.bucketPosition];
    if (!cells) continue;
    for (let cell = 0; cell < cells.count; cell++) {
      const from = cells.from[cell] ?? 0;
      const to = cells.to[cell] ?? 0;
      if (from < choice.from || to > choice.to) continue;
      const hasHead = from > choice.from;
      const hasTail = to < choice.to;
      if ((hasHead || hasTail) && (!localAllowed || Number.isNaN(slowness))) continue;
      // A step of a sequence runs whole in one place: its state is nowhere else.
      if ((hasHead || hasTail) && request.sequence) continue;
      const waits = (hasHead ? 1 : 0) + (hasTail ? 1 : 0);
      const scaled = Number.isNaN(slowness) ? 1 : slowness;
      const headMean = hasHead ? segmentMs(bucket, choice.from, from, meanReading) * scaled : 0;
      const tailMean = hasTail ? segmentMs(bucket, to, choice.to, meanReading) * scaled : 0;
      const head = hasHead ? segmentMs(bucket, choice.from, from, reading) * scaled : 0;
      const tail = hasTail ? segmentMs(bucket, to, choice.to, reading) * scaled : 0;
      const replyBytes = (bucket.rawBytes[to] ?? 0) + envelopeBytes.down + stateBytes;
      const first = removed.length;
      const scale = from === choice.from ? inputScale(request, bucket, from) : 1;
      const memory =
        hasHead || hasTail
          ? memoryRemoves(bucket.headMemoryBytes[hasTail ? choice.to : from] ?? 0, device.memoryBytes)
          : false;
      const last = bucket.firstCoding[from + 1] ?? 0;
      for (let coding = bucket.firstCoding[from] ?? 0; coding < last; coding++) {
        const profile = bucket.codings[coding];
        if (!profile) continue;
        const bytes = profile.bytes * scale + envelopeBytes.up + stateBytes;
        const encodeMs = profile.encodeMs * scale * scaled;
        const position = sizePosition(bytes);
        const agreement = choice.agreementRatio * profile.agreementRatio;
        fixedMs.push(head + tail + encodeMs + waits * device.queueMs);
        fixedMeanMs.push(headMean + tailMean + encodeMs + waits * device.queueMs);
        upIndex.push(position.index);
        upFraction.push(position.fraction);
        sentBytes.push(bytes);
        codecMask.push(bucket.codingMask[coding] ?? 0);
        decodeMs.push(profile.decodeMs * scale);
        agreementRatio.push(agreement);
        accuracyRatio.push(
          variant.accuracyRatio === undefined ? NaN : variant.accuracyRatio - (1 - profile.agreementRatio),
        );
        deviceMillijoules.push(
          (headMean + tailMean + encodeMs) * device.activeWatts +
            bytesMillijoules(device.radio, bytes, replyBytes) +
            device.radioWakeMillijoules,
        );
        costMicros.push((headMean + tailMean) * localMicrosPerMs);
        codings.push(coding);
        removed.push(
          memory
            ? filterIndex("memory")
            : agreementRemoves(agreement, request.limits)
              ? filterIndex("agreement")
              : accuracyRemoves(accuracyRatio.at(-1), request.limits)
                ? filterIndex("accuracy")
                : -1,
        );
      }
      if (removed.length === first) continue;
      groups.push({
        choice,
        cells,
        cell,
        from,
        to,
        reply: sizePosition(replyBytes),
        replyBytes,
        classSet: classSetOf(classSets, bucket, from),
        first,
        end: removed.length,
      });
    }
  }
  return {
    groups,
    count: removed.length,
    fixedMs,
    fixedMeanMs,
    upIndex,
    upFraction,
    sentBytes,
    codecMask,
    decodeMs,
    agreementRatio,
    accuracyRatio,
    deviceMillijoules,
    costMicros,
    coding: codings,
    removed,
    classSets,
  };
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
    if (classes.every((word) => one.classes.includes(word))) return index;
  }
  return sets.push({ classes, reveals }) - 1;
}
