/**
 * The belief about each endpoint as a row of numbers, for choosing the few endpoints that a decision considers.
 *
 * With thousands of endpoints, reading each endpoint again takes longer than everything else in a decision. Considering a random sample is
 * quick but misses the best endpoint, which shows in the slowest answers. But little happens between two decisions: a handful of endpoints
 * received a request or answered. So each endpoint has a row of numbers from which its wait follows at any later instant. Rows of endpoints
 * where something happened are rewritten, and a few others in turn because beliefs age. One pass over the rows, a few nanoseconds each,
 * finds the best. The pass begins with the endpoints that promise most, and ends when the remaining promises, at the best ratio of any
 * endpoint, are no better than what was found.
 *
 * Invariant: rows only choose which endpoints are considered. Decisions read the endpoints themselves.
 */
import type { EndpointId } from "../../words/base/index.ts";
import type { EndpointState } from "./endpoint-state.ts";

/** Numbers of a row; see `write`. */
const rowSize = 9;
/** Every row is rewritten within this time, in milliseconds, even if nothing happened there. */
const agingMs = 5000;
/** The fewest rows rewritten at a look. */
const leastAging = 4;
/** The most rows rewritten at a look. */
const mostAging = 512;
/** Rows of removed endpoints are reused together, once there are this many. */
const leastFree = 128;
/** They are reused once they are this share of all rows, too. */
const freeRatio = 0.125;

/** Inputs of a search. */
export interface BoardQuery {
  /** Rows that may be chosen, ordered by promise for the shortest search. */
  readonly rows: Int32Array;
  /** The time that each row promises for the request, in milliseconds, and the least promise from that row on. */
  readonly runMs: Float64Array;
  readonly leastRunMs: Float64Array;
  readonly bytes: number;
  /** Number of endpoints to find. */
  readonly count: number;
  /** The few rows that may not be chosen now, whatever they promise. */
  readonly skipped?: ReadonlySet<number | undefined> | undefined;
}

/** The rows of all endpoints. */
export interface Board {
  add(endpoint: EndpointState): void;
  remove(id: EndpointId): void;
  /** Number of times that rows were reused. A change means that remembered rows may belong to other endpoints now. */
  readonly reuses: number;
  rowOf(id: EndpointId): number | undefined;
  endpointAt(row: number): EndpointState | undefined;
  /** Something happened at an endpoint. */
  changed(id: EndpointId): void;
  /** The endpoints where the request would end first, best first; fewer than wanted if not as many can be used. */
  first(look: BoardQuery, nowMs: number): readonly EndpointState[];
}

/** A board without endpoints. */
export function endpointBoard(): Board {
  let endpoints: (EndpointState | undefined)[] = [];
  let numbers = new Float64Array(0);
  const rowById = new Map<EndpointId, number>();
  /** Rows of endpoints that are gone: not to be used yet, as lists made before may have them, and to be used. */
  let freed: number[] = [];
  let free: number[] = [];
  let reuses = 0;
  const stale = new Set<number>();
  let aging = 0;
  let agedAtMs = 0;
  /** Lower bounds of all ratios: the least written since the last full round but one, and since the last. */
  let leastRatio = 1;
  let leastSince = 1;

  function write(row: number, nowMs: number): void {
    const endpoint = endpoints[row];
    if (!endpoint) return;
    const { queue, ratio, extraMs, perByteMs, openAtMs } = endpoint.reading.outlook(nowMs);
    const { emptyAtMs, leastMs, othersMs, reportedAtMs, memoryMs } = queue;
    leastRatio = Math.min(leastRatio, ratio);
    leastSince = Math.min(leastSince, ratio);
    let at = row * rowSize;
    numbers[at++] = openAtMs;
    numbers[at++] = emptyAtMs;
    numbers[at++] = leastMs;
    numbers[at++] = ratio;
    numbers[at++] = extraMs;
    numbers[at++] = perByteMs;
    numbers[at++] = othersMs;
    numbers[at++] = reportedAtMs;
    numbers[at++] = memoryMs;
  }

  function refresh(nowMs: number): void {
    for (const row of stale) write(row, nowMs);
    stale.clear();
    const due = Math.ceil((endpoints.length * (nowMs - agedAtMs)) / agingMs);
    agedAtMs = nowMs;
    for (let count = Math.min(endpoints.length, mostAging, Math.max(leastAging, due)); count > 0; count--) {
      if (++aging >= endpoints.length) {
        aging = 0;
        leastRatio = leastSince;
        leastSince = Infinity;
      }
      write(aging, nowMs);
    }
  }

  return {
    add(endpoint) {
      if (free.length === 0 && freed.length >= Math.max(leastFree, freeRatio * endpoints.length)) {
        [free, freed] = [freed, free];
        reuses++;
      }
      const row = free.pop() ?? endpoints.length;
      endpoints[row] = endpoint;
      rowById.set(endpoint.endpoint.info.id, row);
      if (numbers.length < endpoints.length * rowSize) {
        const wider = new Float64Array(2 * endpoints.length * rowSize);
        wider.set(numbers);
        numbers = wider;
      }
      stale.add(row);
    },
    remove(id) {
      const row = rowById.get(id);
      if (row === undefined) return;
      rowById.delete(id);
      stale.delete(row);
      endpoints[row] = undefined;
      numbers[row * rowSize] = Infinity;
      freed.push(row);
    },
    get reuses() {
      return reuses;
    },
    rowOf: (id) => rowById.get(id),
    endpointAt: (row) => endpoints[row],
    changed(id) {
      const row = rowById.get(id);
      if (row !== undefined) stale.add(row);
    },
    first({ rows, runMs, leastRunMs, bytes, count, skipped }, nowMs) {
      refresh(nowMs);
      const all = numbers;
      const bestRows: number[] = [];
      const bestMs: number[] = [];
      let worstMs = Infinity;
      for (let index = 0; index < rows.length; index++) {
        if ((leastRunMs[index] ?? 0) * leastRatio >= worstMs) break;
        const row = rows[index] ?? 0;
        const at = row * rowSize;
        if ((all[at] ?? 0) > nowMs) continue;
        let endsMs =
          Math.max(all[at + 2] ?? 0, (all[at + 1] ?? 0) - nowMs) +
          (runMs[index] ?? 0) * (all[at + 3] ?? 1) +
          (all[at + 4] ?? 0) +
          bytes * (all[at + 5] ?? 0);
        if (!(endsMs < worstMs)) continue;
        const othersMs = all[at + 6] ?? 0;
        if (othersMs > 0) {
          endsMs += othersMs * (1 - Math.exp((nowMs - (all[at + 7] ?? 0)) / -(all[at + 8] ?? 1)));
          if (!(endsMs < worstMs)) continue;
        }
        if (skipped?.has(row)) continue;
        let slot = bestRows.length < count ? bestRows.length : count - 1;
        for (; slot > 0 && endsMs < (bestMs[slot - 1] ?? Infinity); slot--) {
          bestMs[slot] = bestMs[slot - 1] ?? 0;
          bestRows[slot] = bestRows[slot - 1] ?? 0;
        }
        bestMs[slot] = endsMs;
        bestRows[slot] = row;
        if (bestRows.length === count) worstMs = bestMs[count - 1] ?? Infinity;
      }
      const found: EndpointState[] = [];
      for (const row of bestRows) {
        const endpoint = endpoints[row];
        if (endpoint) found.push(endpoint);
      }
      return found;
    },
  };
}
