import {
  type EndpointId,
  leastTrust,
  type TrustLevel,
  trustRank,
  type ZoneId,
} from "../../words/base/index.ts";
import {
  byOwnNames,
  type EndpointInfo,
  type Offer,
  mostMicrosOf,
  runMicros,
} from "../../wire/endpoint/index.ts";
import { type Features, featuresWithin } from "../../words/model/index.ts";
import { type BucketTable, maskOf, type ModelTable, segmentMeanMs } from "./model-table.ts";
import { beliefSize, valuesOf, writeBelief } from "./beliefs.ts";
import { estimateSize, meanOf } from "../../words/estimate/index.ts";

/** Offers of one endpoint for one model along one path, sorted into the buckets of the model's frontier. */
export interface RouteBlock {
  readonly info: EndpointInfo;
  /** IDs of the endpoints on the path, as they report them. */
  readonly path: readonly EndpointId[];
  readonly zones: readonly ZoneId[];
  readonly trust: TrustLevel;
  readonly codecMask: number;
  /** Slowness relative to the profile's machine, from its own longest offer; scales the decoding of crossings. */
  readonly slowness: number;
  /** Its price is unknown: see `CostRates.unpriced`. */
  readonly unpriced: boolean;
  /** `[variant][bucket]`, by key. */
  readonly cells: readonly (readonly (readonly OfferedCell[])[])[];
  /** The same as flat numbers, built on first use. */
  readonly numbers: (variant: number, bucket: number) => OfferedNumbers;
}

/** The offer for one segment. */
interface OfferedCell {
  readonly key: number;
  readonly offer: Offer;
}

/**
 * Key; price, its part that does not grow with time, and its maximum; agreement; energy; and the belief of run (and forward) time without the
 * queue, cell by cell.
 */
type OfferedNumbers = Float64Array;

/** Numbers per cell. */
const cellSize = 6 + beliefSize;

/** Bound of cut positions in keys: the maximum of cuts in a profile. */
const keyBase = 4096;

/** The key of a pair of cut positions. */
function cellKey(from: number, to: number): number {
  return from * keyBase + to;
}

function fromOf(key: number): number {
  return Math.floor(key / keyBase);
}

function toOf(key: number): number {
  return key % keyBase;
}

/** Segments by cut positions, with the times and prices of each route. */
export interface CellTable {
  readonly count: number;
  readonly from: Int32Array;
  readonly to: Int32Array;
  /** Beliefs of run (and forward) time without the queue, `[route][cell]`; NaN without an offer. */
  readonly service: Float64Array;
  /** `[route][cell]`: the expected price, and its part that does not grow with time. */
  readonly costMicros: Float64Array;
  readonly fixedMicros: Float64Array;
  /** `[route][cell]`: the maximum price. */
  readonly mostMicros: Float64Array;
  readonly agreementRatio: Float64Array;
  /** `[route][cell]`: energy of the run there, at least by the stated power, in millijoules; 0 if it is not known. */
  readonly millijoules: Float64Array;
  /** The lowest agreement of any offer. Usually it equals that of the variant, and no decision has to look further. */
  readonly leastAgreementRatio: number;
  /** Whether every route offers every segment, as similar endpoints do. Then lookups for single cells are unnecessary. */
  readonly complete: boolean;
  /** Number of codings of all its segments. */
  readonly codingCount: number;
}

/** All routes for one model. */
export interface RouteTable {
  readonly count: number;
  /** Position in the endpoint table. */
  readonly endpoint: Int32Array;
  readonly paths: readonly (readonly EndpointId[])[];
  readonly zones: readonly (readonly ZoneId[])[];
  /** Index of the route's zones among the distinct sets: rules are checked once for each set. */
  readonly zoneSet: Int32Array;
  readonly zoneSets: readonly (readonly ZoneId[])[];
  /** 1 if the route leads on to other endpoints. */
  readonly forwards: Uint8Array;
  /** 1 if the price is unknown. */
  readonly unpriced: Uint8Array;
  readonly trust: readonly TrustLevel[];
  readonly trustRank: Uint8Array;
  readonly codecMask: Int32Array;
  readonly slowness: Float64Array;
  /** Built on first use: most decisions read one bucket. */
  readonly cells: (variant: number, bucket: number) => CellTable | undefined;
}

/**
 * Sorts the offers of one endpoint. It leaves out offers for another body (digest) of the same name, and offers between cuts that are on no
 * frontier. The endpoint's own description can only narrow the directory's: the lower trust, both zones, and the codecs in both.
 */
export function routeBlocks(
  info: EndpointInfo,
  offers: readonly Offer[],
  model: ModelTable,
): readonly RouteBlock[] {
  const byPath = new Map<string, Offer[]>();
  for (const offer of offers) {
    const { segment } = offer;
    if (segment.digest !== model.description.digest || segment.version !== model.description.version)
      continue;
    const key = `${offer.path.join(" ")}|${offer.trust}|${offer.zones.join(" ")}|${offer.unpriced ?? false}`;
    const list = byPath.get(key);
    if (list) list.push(offer);
    else byPath.set(key, [offer]);
  }
  const blocks: RouteBlock[] = [];
  for (const list of byPath.values()) {
    const [first] = list;
    if (!first) continue;
    const codecs = new Set(first.codecs);
    const cells = offeredCells(list, model);
    const laidOut: (OfferedNumbers | undefined)[][] = [];
    blocks.push({
      info,
      path: byOwnNames(first).path,
      zones: first.zones.includes(info.zone) ? first.zones : [info.zone, ...first.zones],
      trust: leastTrust(info.trust, first.trust),
      codecMask: maskOf(
        model.codecNames.filter((codec) => codecs.has(codec) && info.codecs.includes(codec)),
        model.codecNames,
      ),
      slowness: slownessOf(list, model),
      unpriced: info.rates.unpriced === true || first.unpriced === true,
      cells,
      numbers(variant, bucket) {
        const row = (laidOut[variant] ??= []);
        return (row[bucket] ??= numbersOf(cells[variant]?.[bucket] ?? [], info));
      },
    });
  }
  return blocks;
}

function offeredCells(offers: readonly Offer[], model: ModelTable): RouteBlock["cells"] {
  return model.variants.map((variant) => {
    const own = offers.filter((offer) => offer.segment.variant === variant.name);
    return variant.buckets.map((bucket) => {
      const cells: OfferedCell[] = [];
      for (const offer of own) {
        const from = bucket.index.get(offer.segment.from);
        const to = bucket.index.get(offer.segment.to);
        if (from === undefined || to === undefined || from >= to) continue;
        const key = cellKey(from, to);
        const at = cells.findIndex((one) => one.key === key);
        const rival = cells[at];
        if (!rival) cells.push({ key, offer });
        else if (better(offer.upTo, rival.offer.upTo, bucket.typical)) cells[at] = { key, offer };
      }
      return cells.sort((one, other) => one.key - other.key);
    });
  });
}

function numbersOf(cells: readonly OfferedCell[], { rates }: EndpointInfo): OfferedNumbers {
  const numbers = new Float64Array(cellSize * cells.length);
  let at = 0;
  for (const { key, offer } of cells) {
    numbers[at++] = key;
    const { costMicros } = offer;
    numbers[at++] = costMicros;
    numbers[at++] = Math.min(costMicros, runMicros(rates, 0, 0));
    numbers[at++] = mostMicrosOf(offer);
    numbers[at++] = offer.agreementRatio;
    const runMs = Math.max(0, meanOf(offer.completionMs) - offer.queueMs);
    numbers[at++] = Math.max(offer.energyMillijoules, runMs * rates.activeWatts);
    writeBelief(numbers.subarray(at, at + beliefSize), 1, 0, offer.completionMs.values, offer.queueMs);
    at += beliefSize;
  }
  return numbers;
}

/** The smallest bucket that holds the features, otherwise the largest. */
function better(a: Features, b: Features, features: Features): boolean {
  const holdsA = featuresWithin(features, a);
  const holdsB = featuresWithin(features, b);
  if (holdsA !== holdsB) return holdsA;
  return holdsA === featuresWithin(a, b);
}

/** Predicted time of an endpoint for the longest part of the first variant that it runs, without its queue; Infinity without an offer. */
export function promisedMs(blocks: readonly RouteBlock[], bucket: number): number {
  let widest = 0;
  let leastMs = Infinity;
  for (const { cells } of blocks) {
    for (const { key, offer } of cells[0]?.[bucket] ?? []) {
      const wide = toOf(key) - fromOf(key);
      if (wide < widest) continue;
      const runMs = meanOf(offer.completionMs) - offer.queueMs;
      if (wide === widest && runMs >= leastMs) continue;
      widest = wide;
      leastMs = runMs;
    }
  }
  return leastMs;
}

/** From the offer whose segment takes longest in the profile: it measures speed best. */
function slownessOf(offers: readonly Offer[], model: ModelTable): number {
  let longest = 0;
  let slowness = 1;
  for (const offer of offers) {
    const bucket = model.variants.find((one) => one.name === offer.segment.variant)?.buckets[0];
    const from = bucket?.index.get(offer.segment.from);
    const to = bucket?.index.get(offer.segment.to);
    if (!bucket || from === undefined || to === undefined) continue;
    const measured = segmentMeanMs(bucket, from, to);
    if (measured <= longest) continue;
    longest = measured;
    const promised =
      offer.completionMs.values.reduce((total, value) => total + value, 0) / 16 - offer.queueMs;
    slowness = Math.min(100, Math.max(0.01, promised / measured));
  }
  return slowness;
}

/** Builds the routes of all endpoints. Endpoints that are not in `index` are left out. */
export function routeTable(
  blocks: readonly RouteBlock[],
  model: ModelTable,
  index: ReadonlyMap<EndpointId, number>,
): RouteTable {
  const routes = blocks.filter((block) => index.has(block.info.id));
  const count = routes.length;
  const laidOut: (CellTable | undefined)[][] = [];
  const endpoint = new Int32Array(count);
  const zoneSet = new Int32Array(count);
  const zoneSets: (readonly ZoneId[])[] = [];
  const forwards = new Uint8Array(count);
  const unpriced = new Uint8Array(count);
  const trustRanks = new Uint8Array(count);
  const codecMask = new Int32Array(count);
  const slowness = new Float64Array(count);
  for (let route = 0; route < count; route++) {
    const block = routes[route];
    if (!block) continue;
    endpoint[route] = index.get(block.info.id) ?? -1;
    zoneSet[route] = zoneSetOf(zoneSets, block.zones);
    forwards[route] = block.path.length > 1 ? 1 : 0;
    unpriced[route] = block.unpriced ? 1 : 0;
    trustRanks[route] = trustRank(block.trust);
    codecMask[route] = block.codecMask;
    slowness[route] = block.slowness;
  }
  return {
    count,
    endpoint,
    paths: routes.map((block) => block.path),
    zones: routes.map((block) => block.zones),
    zoneSet,
    zoneSets,
    forwards,
    unpriced,
    trust: routes.map((block) => block.trust),
    trustRank: trustRanks,
    codecMask,
    slowness,
    cells(variant, bucket) {
      const frontier = model.variants[variant]?.buckets[bucket];
      const row = (laidOut[variant] ??= []);
      return (row[bucket] ??= frontier && cellTable(routes, frontier, variant, bucket));
    },
  };
}

/** Index of some zones among the known sets; few differ. */
function zoneSetOf(sets: (readonly ZoneId[])[], zones: readonly ZoneId[]): number {
  for (let at = 0; at < sets.length; at++) {
    const one = sets[at];
    if (one?.length === zones.length && one.every((zone, position) => zone === zones[position])) return at;
  }
  return sets.push(zones) - 1;
}

function cellTable(
  routes: readonly RouteBlock[],
  { firstCoding }: BucketTable,
  variant: number,
  bucket: number,
): CellTable {
  const offered = routes.map((route) => route.numbers(variant, bucket));
  const keys = keysOf(offered);
  const count = keys.length;
  const rows = routes.length * count;
  const service = new Float64Array(beliefSize * rows).fill(NaN);
  const costMicros = new Float64Array(rows);
  const fixedMicros = new Float64Array(rows);
  const mostMicros = new Float64Array(rows);
  const agreementRatio = new Float64Array(rows);
  const millijoules = new Float64Array(rows);
  let leastAgreementRatio = 1;
  let promised = 0;
  for (const [position, own] of offered.entries()) {
    let column = 0;
    for (let at = 0; at < own.length; at += cellSize) {
      while (keys[column] !== own[at]) column++;
      const row = position * count + column;
      costMicros[row] = own[at + 1] ?? 0;
      fixedMicros[row] = own[at + 2] ?? 0;
      mostMicros[row] = own[at + 3] ?? Infinity;
      const agrees = own[at + 4] ?? 0;
      agreementRatio[row] = agrees;
      leastAgreementRatio = Math.min(leastAgreementRatio, agrees);
      millijoules[row] = own[at + 5] ?? 0;
      const meanMs = own[at + 6] ?? NaN;
      service[row] = meanMs;
      if (!Number.isNaN(meanMs)) promised++;
      const to = valuesOf(rows, row);
      for (let index = 0; index < estimateSize; index++) service[to + index] = own[at + 7 + index] ?? NaN;
    }
  }
  const from = new Int32Array(count);
  const to = new Int32Array(count);
  let codingCount = 0;
  for (let column = 0; column < count; column++) {
    const cut = fromOf(keys[column] ?? 0);
    from[column] = cut;
    to[column] = toOf(keys[column] ?? 0);
    codingCount += (firstCoding[cut + 1] ?? 0) - (firstCoding[cut] ?? 0);
  }
  const complete = promised === rows;
  return {
    count,
    from,
    to,
    service,
    costMicros,
    fixedMicros,
    mostMicros,
    agreementRatio,
    millijoules,
    leastAgreementRatio,
    complete,
    codingCount,
  };
}

/** Keys of all offers, sorted. Usually all endpoints offer the same. */
function keysOf(offered: readonly OfferedNumbers[]): readonly number[] {
  const all: number[] = [];
  for (const own of offered) {
    let at = 0;
    for (let cell = 0; cell < own.length; cell += cellSize) {
      const key = own[cell] ?? Infinity;
      while ((all[at] ?? Infinity) < key) at++;
      if (all[at] !== key) all.splice(at, 0, key);
      at++;
    }
  }
  return all;
}
