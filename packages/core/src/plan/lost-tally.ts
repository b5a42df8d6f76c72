import { filterOrder } from "./filter/order.ts";
import type { FilterName } from "./plan.ts";
import type { NumberRoom } from "../table/index.ts";

/** Candidates of one route that one filter removed. */
export interface Removed {
  readonly route: number;
  readonly filter: FilterName;
  readonly count: number;
  /** One of them: its group, and its coding in the bucket. */
  readonly group: number;
  readonly coding: number;
  /** The rule, where the filter names one. */
  readonly rule: string | undefined;
}

/** What filters removed, by route: in columns, and only of filters that removed something. */
export interface LostTally {
  readonly routes: number;
  readonly scratch: NumberRoom;
  /** By the position of the filter. */
  readonly columns: (Column | undefined)[];
}

interface Column {
  readonly count: Float64Array;
  readonly group: Float64Array;
  readonly coding: Float64Array;
}

/** A tally for some routes. */
export function lostTally(routes: number, scratch: NumberRoom): LostTally {
  return { routes, scratch, columns: filterOrder.map(() => undefined) };
}

/** Notes candidates that a filter removed. */
export function lose(
  { columns, routes, scratch }: LostTally,
  filter: number,
  route: number,
  count: number,
  group: number,
  coding: number,
): void {
  const column = (columns[filter] ??= {
    count: scratch.take(routes),
    group: scratch.take(routes),
    coding: scratch.take(routes),
  });
  const before = column.count[route] ?? 0;
  column.count[route] = before + count;
  if (before > 0) return;
  column.group[route] = group;
  column.coding[route] = coding;
}

/** One entry for each route and filter, route by route. */
export function collectLost(
  { columns, routes }: LostTally,
  ruleOf: (filter: number, route: number) => string | undefined,
): Removed[] {
  const removed: Removed[] = [];
  const used = columns.flatMap((column, filter) => (column ? [{ column, filter }] : []));
  for (let route = 0; route < routes; route++) {
    for (const { column, filter } of used) {
      const count = column.count[route] ?? 0;
      if (count === 0) continue;
      removed.push({
        route,
        filter: filterOrder[filter] ?? "unavailable",
        count,
        group: column.group[route] ?? 0,
        coding: column.coding[route] ?? 0,
        rule: ruleOf(filter, route),
      });
    }
  }
  return removed;
}
