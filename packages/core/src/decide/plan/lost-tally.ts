import type { PlanScratch } from "./plan-scratch.ts";

/** The candidates that filters removed, by route. Only filters that removed something have a column. */
export interface LostTally {
  readonly routes: number;
  readonly scratch: PlanScratch;
  /** By the position of the filter. */
  readonly columns: (LostColumn | undefined)[];
  /** Positions of the filters that have one. */
  readonly used: number[];
  /** For each route, the rule if a data class excludes it. */
  readonly rules: string[];
  /** For each route, whether it was left out only because something must be loaded there first (`PlanRequest.ready`). */
  readonly unready: boolean[];
}

/** The candidates that one filter removed, by route: their number, and the group and coding of one of them. */
export interface LostColumn {
  readonly count: Float64Array;
  readonly group: Float64Array;
  readonly coding: Float64Array;
}

/** A tally for some routes. */
export function lostTally(routes: number, scratch: PlanScratch): LostTally {
  return { routes, scratch, columns: [], used: [], rules: [], unready: [] };
}

/** The column of a filter. */
export function lostColumn({ columns, used, routes, scratch }: LostTally, filter: number): LostColumn {
  const known = columns[filter];
  if (known) return known;
  const column = {
    count: scratch.columns.filled(routes, 0),
    group: scratch.columns.take(routes),
    coding: scratch.columns.take(routes),
  };
  columns[filter] = column;
  used.push(filter);
  return column;
}

/** Notes candidates of a route that a filter removed. */
export function lose(column: LostColumn, route: number, count: number, group: number, coding: number): void {
  const before = column.count[route] ?? 0;
  column.count[route] = before + count;
  if (before > 0) return;
  column.group[route] = group;
  column.coding[route] = coding;
}
