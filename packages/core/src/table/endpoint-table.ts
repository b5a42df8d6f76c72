import { type EndpointId, trustRank } from "../base/index.ts";
import type { EndpointInfo } from "../endpoint/index.ts";
import { type LinkTable, sizeCount } from "./link-table.ts";
import { tierBit } from "./model-table.ts";
import { planeCount } from "./planes.ts";

/** What is believed of one other place at the moment of a view. */
export interface EndpointView {
  readonly info: EndpointInfo;
  readonly link: LinkTable;
  /** Expected wait there before a request runs: its last report, plus what we sent since, less what time took away. */
  readonly queueMs: number;
  /** What its runs took over what it promised: promises are corrected by what was observed. 1 when nothing was seen. */
  readonly serviceRatio: number;
  /** Charged for recent failures, in milliseconds, decaying. */
  readonly penaltyMs: number;
  /** Why nothing is sent there now, in words. */
  readonly unavailable?: string;
  /** Price of a second run beside one sent there, in units of that run; Infinity when the hedge budget allows none. */
  readonly extraRunPrice: number;
}

/**
 * All other places as flat arrays. The rows of links are laid out plane by plane (see `planes.ts`), place by place in a
 * plane, size by size in a place, so that a scan over a thousand places reads memory in order.
 */
export interface EndpointTable {
  readonly count: number;
  readonly infos: readonly EndpointInfo[];
  readonly ids: readonly EndpointId[];
  /** Bit of its tier, as of `tierBit`. */
  readonly tierBit: Uint8Array;
  readonly index: ReadonlyMap<EndpointId, number>;
  readonly unavailable: readonly (string | undefined)[];
  readonly queueMs: Float64Array;
  readonly serviceRatio: Float64Array;
  readonly penaltyMs: Float64Array;
  readonly extraRunPrice: Float64Array;
  readonly trustRank: Uint8Array;
  readonly up: Float64Array;
  readonly down: Float64Array;
  readonly microsPerMegabyte: Float64Array;
  readonly linkAtMs: Float64Array;
}

/** Lays out the views of some places. */
export function endpointTable(views: readonly EndpointView[]): EndpointTable {
  const count = views.length;
  const numbers = (of: (view: EndpointView) => number): Float64Array => Float64Array.from(views, of);
  return {
    count,
    infos: views.map((view) => view.info),
    ids: views.map((view) => view.info.id),
    tierBit: Uint8Array.from(views, (view) => tierBit(view.info.tier)),
    index: new Map(views.map((view, index) => [view.info.id, index])),
    unavailable: views.map((view) => view.unavailable),
    queueMs: numbers((view) => view.queueMs),
    serviceRatio: numbers((view) => view.serviceRatio),
    penaltyMs: numbers((view) => view.penaltyMs),
    extraRunPrice: numbers((view) => view.extraRunPrice),
    trustRank: Uint8Array.from(views, (view) => trustRank(view.info.trust)),
    up: layOut(views, (view) => view.link.up),
    down: layOut(views, (view) => view.link.down),
    microsPerMegabyte: numbers((view) => view.info.rates.microsPerMegabyte),
    linkAtMs: numbers((view) => view.link.atMs),
  };
}

/** The same places and links under new loads: what changes with every reply is a few short arrays. */
export function withLoads(table: EndpointTable, views: readonly EndpointView[]): EndpointTable {
  const numbers = (of: (view: EndpointView) => number): Float64Array => Float64Array.from(views, of);
  return {
    ...table,
    unavailable: views.map((view) => view.unavailable),
    queueMs: numbers((view) => view.queueMs),
    serviceRatio: numbers((view) => view.serviceRatio),
    penaltyMs: numbers((view) => view.penaltyMs),
    extraRunPrice: numbers((view) => view.extraRunPrice),
  };
}

/** One array for the links of all places, `[plane][place][size]`. */
function layOut(views: readonly EndpointView[], of: (view: EndpointView) => Float64Array): Float64Array {
  const rows = views.length * sizeCount;
  const all = new Float64Array(planeCount * rows);
  for (const [place, view] of views.entries()) {
    const one = of(view);
    for (let plane = 0; plane < planeCount; plane++) {
      const from = plane * sizeCount;
      all.set(one.subarray(from, from + sizeCount), plane * rows + place * sizeCount);
    }
  }
  return all;
}
