import type { EndpointId, Random } from "../../words/base/index.ts";
import { endpointTable, type EndpointTable, type EndpointView, withLoads } from "../../decide/table/index.ts";
import type { KnownModel } from "../models/index.ts";
import type { Board } from "./board.ts";
import { readmitted } from "./ejection-cap.ts";
import type { EndpointState } from "./endpoint-state.ts";
import { ranOf, type RunFailures } from "./run-failures.ts";
import {
  exploredRatio,
  manyEndpoints,
  type Shortlist,
  shortlist,
  type ShortlistRequest,
} from "./shortlist.ts";

/** For how long loads that were read for one decision serve the next, in milliseconds. */
const loadsHoldMs = 5;

/** The endpoints as decisions read them. */
export interface EndpointTables {
  /** All endpoints as a decision about the model for that tenant reads them. Loads are current, links as of their last table. */
  all(known: KnownModel, tenant: string, nowMs: number): EndpointTable;
  /** The endpoints that a decision about the model considers: all, or a few if there are very many. */
  considered(known: KnownModel, tenant: string, sought: ShortlistRequest, nowMs: number): EndpointTable;
  /** The endpoints that recent decisions considered: all, or those of the last shortlist. */
  readonly looked: Iterable<EndpointState>;
  /** Loads changed: the next table reads them again. */
  touched(): void;
  /** An endpoint came or went, or the table of a link changed: the next table is laid out again. */
  outdated(): void;
}

/** The sources of tables. */
export interface TableParts {
  readonly endpoints: ReadonlyMap<EndpointId, EndpointState>;
  readonly board: Board;
  readonly failures: RunFailures;
  readonly random: Random;
  /** Whether models run on this device, too. */
  readonly runsHere: boolean;
}

/** Lays out tables of these endpoints. */
export function endpointTables({ endpoints, board, failures, random, runsHere }: TableParts): EndpointTables {
  let table: EndpointTable = endpointTable([]);
  let stale = true;
  let loadsAtMs = -Infinity;
  /** The first pause of those that the table was laid out with is over then. */
  let opensAtMs = Infinity;
  const lists = new WeakMap<KnownModel, { readonly reuses: number; readonly list: Shortlist }>();
  /** The shortlist of the model of the last decision. */
  let list: Shortlist | undefined;
  /** From time to time returns an avoided endpoint, which gets the chance to show its current speed at the cost of one request. */
  const toTry = (nowMs: number): EndpointState | undefined => {
    const avoided: EndpointState[] = [];
    for (const one of endpoints.values())
      if (one.reading.untried(nowMs) && one.health.unavailable(nowMs) === undefined) avoided.push(one);
    const instead = runsHere || avoided.length < endpoints.size;
    if (avoided.length === 0 || !instead || random.next() >= exploredRatio) return undefined;
    return avoided[Math.floor(random.next() * avoided.length)];
  };
  function laidOut(nowMs: number): EndpointTable {
    if (!stale && (endpoints.size === 0 || (nowMs - loadsAtMs < loadsHoldMs && nowMs < opensAtMs)))
      return table;
    const back = readmitted(endpoints.values(), nowMs);
    const tried = toTry(nowMs);
    const alone = endpoints.size === 1 && !runsHere;
    const views: EndpointView[] = [];
    opensAtMs = Infinity;
    for (const endpointState of endpoints.values()) {
      const { pausedUntilMs } = endpointState.health;
      if (pausedUntilMs > nowMs) opensAtMs = Math.min(opensAtMs, pausedUntilMs);
      const anyway = back.has(endpointState);
      views.push(endpointState.reading.view(nowMs, { anyway, afresh: endpointState === tried, alone }));
    }
    table = stale ? endpointTable(views) : withLoads(table, views);
    stale = false;
    loadsAtMs = nowMs;
    return table;
  }
  const all: EndpointTables["all"] = (known, tenant, nowMs) => {
    const now = laidOut(nowMs);
    if (failures.none) return now;
    const of = ranOf(known.description);
    return failures.charged(now, of, failures.out(of, tenant, known.offersBy, nowMs), nowMs);
  };
  return {
    all,
    considered(known, tenant, sought, nowMs) {
      if (endpoints.size <= manyEndpoints) return all(known, tenant, nowMs);
      const kept = lists.get(known);
      // An endpoint that has joined since is in the next shortlist, which is made once its offers are known.
      list = kept?.reuses === board.reuses ? kept.list : shortlist(known, board, random);
      if (list !== kept?.list) lists.set(known, { reuses: board.reuses, list });
      const of = ranOf(known.description);
      const out = failures.out(of, tenant, known.offersBy, nowMs);
      return failures.charged(list.table(sought, nowMs, out), of, out, nowMs);
    },
    get looked() {
      return endpoints.size > manyEndpoints && list ? list.looked : endpoints.values();
    },
    touched() {
      loadsAtMs = -Infinity;
    },
    outdated() {
      stale = true;
    },
  };
}
