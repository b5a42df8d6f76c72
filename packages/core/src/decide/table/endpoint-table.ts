import type { EndpointId } from "../../words/base/index.ts";
import { type EndpointInfo, inMicros, outMicros } from "../../wire/endpoint/index.ts";
import { type LinkTable, sizeCount } from "./link-table.ts";
import { tierBit } from "./model-table.ts";
import { beliefSize } from "./beliefs.ts";
import { estimateSize, tailSize } from "../../words/estimate/index.ts";
import type { TryPrices } from "../estimate/index.ts";

/** Beliefs about one other endpoint at the time of a view. */
export interface EndpointView {
  readonly info: EndpointInfo;
  readonly link: LinkTable;
  /** Expected wait there before a request runs: its last report, plus the requests sent since, minus the elapsed time. */
  readonly queueMs: number;
  /** Ratio of its run times to its predictions, which corrects the predictions. 1 without observations. */
  readonly serviceRatio: number;
  /** Penalty for recent failures, in milliseconds, decaying. */
  readonly penaltyMs: number;
  /** How long earlier requests on their way there keep the radio up anyway; 0 without any. */
  readonly sharedMs: number;
  /** Why nothing is sent there now, as text. */
  readonly unavailable?: string | undefined;
  /** Prices of a second run beside one sent there, and of missed deadlines. */
  readonly prices: TryPrices;
  /** The values of `serviceRatio` and `penaltyMs` without exploration, if the endpoint is explored. */
  readonly explored?: Believed | undefined;
}

/** The part of a view that exploration replaces. */
export interface Believed {
  readonly serviceRatio: number;
  readonly penaltyMs: number;
}

/**
 * All other endpoints as flat arrays. The beliefs about links (see `beliefs.ts`) are ordered by endpoint, then by size, so that a scan over
 * a thousand endpoints reads memory in order.
 */
export interface EndpointTable {
  readonly count: number;
  readonly infos: readonly EndpointInfo[];
  readonly ids: readonly EndpointId[];
  /** Bit of its tier, as of `tierBit`. */
  readonly tierBit: Uint8Array;
  readonly index: ReadonlyMap<EndpointId, number>;
  readonly unavailable: readonly (string | undefined)[];
  /** `[endpoint][load]`: read with `waitMsAt` and similar functions. */
  readonly loads: Float64Array;
  readonly up: Float64Array;
  readonly down: Float64Array;
  /** See `LinkTable`; read with `copyTail`. */
  readonly upTail: Float64Array;
  /** Prices of one megabyte of requests and of replies. */
  readonly inMicros: Float64Array;
  readonly outMicros: Float64Array;
  /** True without observations on its link: `up` and `down` are assumptions. */
  readonly assumedLink: readonly boolean[];
  /** The endpoint that is explored, by its position, and what is believed of it; undefined without exploration. */
  readonly explored: (Believed & { readonly endpoint: number }) | undefined;
}

/** Numbers per endpoint in `EndpointTable.loads`: wait, service ratio, two prices, radio time that other requests pay for. */
const loadSize = 5;

/** Expected wait there before a request runs, plus the penalty for recent failures, in milliseconds. */
export function waitMsAt(table: EndpointTable, endpoint: number): number {
  return table.loads[endpoint * loadSize] ?? 0;
}

/** Ratio of its run times to its predictions. */
export function serviceRatioAt(table: EndpointTable, endpoint: number): number {
  return table.loads[endpoint * loadSize + 1] ?? 1;
}

/** How long earlier requests on their way there keep the radio up anyway. */
export function sharedMsAt(table: EndpointTable, endpoint: number): number {
  return table.loads[endpoint * loadSize + 4] ?? 0;
}

/** All prices of an endpoint. */
export function pricesAt(table: EndpointTable, endpoint: number): TryPrices {
  const at = endpoint * loadSize + 2;
  const { loads } = table;
  return {
    secondRun: loads[at] ?? 0,
    missed: loads[at + 1] ?? 0,
  };
}

/** Builds the table from the views of some endpoints. */
export function endpointTable(views: readonly EndpointView[]): EndpointTable {
  const count = views.length;
  const tierBits = new Uint8Array(count);
  const index = new Map<EndpointId, number>();
  const inPrices = new Float64Array(count);
  const outPrices = new Float64Array(count);
  for (let endpoint = 0; endpoint < count; endpoint++) {
    const info = views[endpoint]?.info;
    if (!info) continue;
    tierBits[endpoint] = tierBit(info.tier);
    index.set(info.id, endpoint);
    inPrices[endpoint] = inMicros(info.rates);
    outPrices[endpoint] = outMicros(info.rates);
  }
  return {
    count,
    infos: views.map((view) => view.info),
    ids: views.map((view) => view.info.id),
    tierBit: tierBits,
    index,
    unavailable: views.map((view) => view.unavailable),
    loads: layOutLoads(views),
    up: layOut(views, "up"),
    down: layOut(views, "down"),
    upTail: layOutTails(views),
    inMicros: inPrices,
    outMicros: outPrices,
    assumedLink: views.map(({ link }) => link.origin === "prior"),
    explored: exploredOf(views),
  };
}

/** The same endpoints and links with new loads: a reply changes only a few numbers. */
export function withLoads(table: EndpointTable, views: readonly EndpointView[]): EndpointTable {
  const unavailable = views.map((view) => view.unavailable);
  return reloaded(table, unavailable, layOutLoads(views), exploredOf(views));
}

/** The same table with one endpoint made available, whatever its state. */
export function withAvailable(table: EndpointTable, id: EndpointId): EndpointTable {
  const at = table.index.get(id);
  const unavailable = table.unavailable.map((why, endpoint) => (endpoint === at ? undefined : why));
  return reloaded(table, unavailable, table.loads, table.explored);
}

/**
 * Fields are listed one by one, since this runs for every request. Spreading takes several times as long and creates another object shape,
 * for which engines recompile all code that reads tables.
 */
function reloaded(
  {
    count,
    infos,
    ids,
    tierBit,
    index,
    up,
    down,
    upTail,
    inMicros: ins,
    outMicros: outs,
    assumedLink,
  }: EndpointTable,
  unavailable: EndpointTable["unavailable"],
  loads: Float64Array,
  explored: EndpointTable["explored"],
): EndpointTable {
  return {
    count,
    infos,
    ids,
    tierBit,
    index,
    unavailable,
    loads,
    up,
    down,
    upTail,
    inMicros: ins,
    outMicros: outs,
    assumedLink,
    explored,
  };
}

/** The same table with the explored endpoint as it is believed to be. */
export function withoutExploration(table: EndpointTable): EndpointTable {
  const { explored } = table;
  if (!explored) return table;
  const loads = table.loads.slice();
  const at = explored.endpoint * loadSize;
  loads[at] = (loads[at] ?? 0) + explored.penaltyMs;
  loads[at + 1] = explored.serviceRatio;
  return reloaded(table, table.unavailable, loads, undefined);
}

function exploredOf(views: readonly EndpointView[]): EndpointTable["explored"] {
  const endpoint = views.findIndex(({ explored }) => explored !== undefined);
  const believed = views[endpoint]?.explored;
  return believed && { ...believed, endpoint };
}

/** Failures of an endpoint for one kind of request, which other kinds do not see. */
export interface Failing {
  readonly id: EndpointId;
  /** Added to the belief about it, in milliseconds. */
  readonly penaltyMs: number;
  /** Why nothing is sent there now; undefined if it may be tried. */
  readonly unavailable: string | undefined;
}

/** The same table with some endpoints penalised or excluded. */
export function withFailing(table: EndpointTable, failing: readonly Failing[]): EndpointTable {
  const unavailable = table.unavailable.slice();
  const loads = table.loads.slice();
  for (const one of failing) {
    const at = table.index.get(one.id);
    if (at === undefined) continue;
    unavailable[at] ??= one.unavailable;
    loads[at * loadSize] = (loads[at * loadSize] ?? 0) + one.penaltyMs;
  }
  return reloaded(table, unavailable, loads, table.explored);
}

function layOutTails(views: readonly EndpointView[]): Float64Array {
  const size = sizeCount * tailSize;
  const tails = new Float64Array(views.length * size);
  for (let endpoint = 0; endpoint < views.length; endpoint++)
    tails.set(views[endpoint]?.link.upTail ?? [], endpoint * size);
  return tails;
}

/** Sets `tail` to that of the way to an endpoint plus `restMs`, at `fraction` between one size and the next. */
export function copyTail(
  tail: Float64Array,
  { upTail }: Pick<EndpointTable, "upTail">,
  endpoint: number,
  size: number,
  fraction: number,
  restMs: number,
): void {
  const from = (endpoint * sizeCount + size) * tailSize;
  for (let at = 0; at < tailSize; at++) {
    const low = upTail[from + at] ?? NaN;
    tail[at] = restMs + low + fraction * ((upTail[from + tailSize + at] ?? NaN) - low);
  }
}

/** One array for the loads of all endpoints, because a decision reads all numbers of an endpoint at once. */
function layOutLoads(views: readonly EndpointView[]): Float64Array {
  const loads = new Float64Array(views.length * loadSize);
  let at = 0;
  for (const view of views) {
    loads[at++] = view.queueMs + view.penaltyMs;
    loads[at++] = view.serviceRatio;
    loads[at++] = view.prices.secondRun;
    loads[at++] = view.prices.missed;
    loads[at++] = view.sharedMs;
  }
  return loads;
}

/** One array of beliefs for the links of all endpoints, `[endpoint][size]`. */
function layOut(views: readonly EndpointView[], way: "up" | "down"): Float64Array {
  const rows = views.length * sizeCount;
  const all = new Float64Array(beliefSize * rows);
  for (let endpoint = 0; endpoint < views.length; endpoint++) {
    const one = views[endpoint]?.link[way];
    if (!one) continue;
    for (let size = 0; size < sizeCount; size++) all[endpoint * sizeCount + size] = one[size] ?? NaN;
    all.set(one.subarray(sizeCount), rows + endpoint * sizeCount * estimateSize);
  }
  return all;
}
