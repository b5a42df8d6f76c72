import {
  type Clock,
  type EndpointId,
  failureEvent,
  LongshoreError,
  type Observer,
  type Random,
  UnderWay,
} from "../../words/base/index.ts";
import type { Directory } from "../../fleet/directory/index.ts";
import type { Endpoint, EndpointInfo } from "../../wire/endpoint/index.ts";
import type { Link } from "../../wire/transport/index.ts";
import type { BeliefMemory, TryOptions } from "../../decide/estimate/index.ts";
import { endpointTable, type EndpointTable, type EndpointView, withLoads } from "../../decide/table/index.ts";
import { endpointBoard } from "./board.ts";
import { readmitted } from "./ejection-cap.ts";
import type { KnownModel } from "../models/index.ts";
import { followEndpoint, type EndpointState } from "./endpoint-state.ts";
import { type ServedVersion, ranOf, runFailures } from "./run-failures.ts";
import {
  exploredRatio,
  manyEndpoints,
  type Shortlist,
  shortlist,
  type ShortlistRequest,
} from "./shortlist.ts";

/** Where endpoints come from, and what following them takes. */
export interface EndpointsParts {
  readonly endpoints?: readonly Endpoint[];
  readonly directory?: Directory;
  readonly dial?: (info: EndpointInfo) => Endpoint;
  /** Runs models on this device. */
  readonly local?: Endpoint;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  readonly links: (endpoint: EndpointId) => Link | undefined;
  readonly hedges?: TryOptions;
  /** Beliefs of an earlier process. Default: none. */
  readonly beliefs?: BeliefMemory;
}

/** For how long loads that were read for one decision serve the next, in milliseconds. */
const loadsHoldMs = 5;

/** All other endpoints: those that were given, and those of the directory. */
export interface EndpointStates extends Disposable {
  readonly all: ReadonlyMap<EndpointId, EndpointState>;
  /** Whether endpoints may come: there is a directory to name them. */
  readonly mayGrow: boolean;
  /** Whether the directory may not name all of its endpoints yet. */
  readonly settling: boolean;
  /** Whether endpoints may be missing that were listed before this process started. */
  readonly lacksEarlier: boolean;
  /** Counts changes of the set of endpoints. */
  readonly changes: number;
  /** Charge for failed runs of the model at an endpoint, in milliseconds; Infinity while it gets no runs of that tenant. */
  failingMs(known: KnownModel, tenant: string, nowMs: number): (id: EndpointId) => number;
  /**
   * When an endpoint may get requests for that version or tenant again: the endpoint failed, runs of the version failed there, or it
   * refused.
   */
  pausedUntilMs(endpointState: EndpointState, of: ServedVersion | undefined, tenant?: string): number;
  /** Time of the last failure of an endpoint or of runs of that version there; -Infinity for never. */
  downAtMs(endpointState: EndpointState, of: ServedVersion): number;
  /**
   * Records a failure: of a run for that tenant that began then, or of a poll if no run is given, for that version if one is known. An
   * error that names another endpoint is not held against this one.
   */
  failed(
    endpointState: EndpointState,
    of: ServedVersion | undefined,
    error: LongshoreError,
    nowMs: number,
    beganMs: number,
    tenant?: string,
  ): void;
  /** A run was answered there. */
  answered(endpointState: EndpointState, of: ServedVersion, nowMs: number): void;
  /** All endpoints as a decision about the model for that tenant reads them. Loads are current, links as of their last table. */
  table(known: KnownModel, tenant: string, nowMs: number): EndpointTable;
  /** The endpoints that a decision about the model considers: all, or a few if there are very many. */
  tableFor(known: KnownModel, tenant: string, sought: ShortlistRequest, nowMs: number): EndpointTable;
  /** The endpoints that recent decisions considered: all, or those of the last shortlist. */
  readonly looked: Iterable<EndpointState>;
  /** Called for each endpoint that is added later. */
  onAdded: (id: EndpointId) => void;
  /** Called after the directory has settled. */
  onSettled: () => void;
  /** Loads changed: the next table reads them again. */
  touched(): void;
  /**
   * Computes the table of one link that needs it. Returns whether more need it. Each takes a few milliseconds, so they are computed one at
   * a time and rarely while a request waits.
   */
  refreshOneLink(nowMs: number): boolean;
  /** Whether `refreshOneLink` would change anything. */
  linksStale(nowMs: number): boolean;
  /** Endpoints that were dialled here. */
  closeAll(): Promise<void>;
}

/** Follows all endpoints. */
export function followEndpoints(parts: EndpointsParts, self: EndpointId): EndpointStates {
  const { clock, random, links, hedges, directory, dial, local } = parts;
  const all = new Map<EndpointId, EndpointState>();
  /** The directory entry with which each endpoint was dialled, or could not be. */
  const listed = new Map<EndpointId, EndpointInfo>();
  const closing = new UnderWay();
  const board = endpointBoard();
  let changes = 0;
  let table: EndpointTable = endpointTable([]);
  let laidOutFor = -1;
  let loadsAtMs = -Infinity;
  /** The first pause of those that the table was laid out with is over then. */
  let opensAtMs = Infinity;
  let linksChanged = false;
  const lists = new WeakMap<KnownModel, { readonly reuses: number; readonly list: Shortlist }>();
  /** The shortlist of the model of the last decision. */
  let list: Shortlist | undefined;
  /** Whether the first endpoints were added: those added later get a slow start. */
  let begun = false;
  const runs = runFailures(all, random);
  const changed = (id: EndpointId, link: boolean): void => {
    linksChanged ||= link;
    board.changed(id);
  };
  const add = (endpoint: Endpoint): void => {
    const { id } = endpoint.info;
    if (id === self) return;
    const endpointState = followEndpoint(endpoint, links(id), clock, random, hedges, changed);
    if (begun && all.size > 0) endpointState.startSlowly(clock.nowMs());
    const before = parts.beliefs?.server(id);
    if (before) endpointState.service.remember(before.ratio, before.ageMs, clock.nowMs());
    all.set(id, endpointState);
    board.add(endpointState);
    changes++;
  };
  /** From time to time returns an avoided endpoint, which gets the chance to show its current speed at the cost of one request. */
  const toTry = (nowMs: number): EndpointState | undefined => {
    const avoided = [...all.values()].filter(
      (endpointState) =>
        endpointState.untried(nowMs) && endpointState.health.unavailable(nowMs) === undefined,
    );
    const instead = local !== undefined || avoided.length < all.size;
    if (avoided.length === 0 || !instead || random.next() >= exploredRatio) return undefined;
    return avoided[Math.floor(random.next() * avoided.length)];
  };
  for (const endpoint of parts.endpoints ?? []) add(endpoint);
  /** Requests under way there go on; new ones find another endpoint, or the endpoint again. */
  const forget = (id: EndpointId): void => {
    const gone = all.get(id);
    listed.delete(id);
    all.delete(id);
    board.remove(id);
    runs.forget(id);
    changes++;
    if (!gone) return;
    void closing.track(gone.endpoint.close().catch(() => undefined));
  };
  const dialled = (entry: EndpointInfo): Endpoint | undefined => {
    try {
      return dial?.(entry);
    } catch (thrown) {
      // One unusable entry must not lose the others.
      const error = LongshoreError.from(thrown, "resolve", `dialling ${entry.id}`);
      parts.observer.record(failureEvent(error, { id: `dial-${entry.id}` }, clock.nowMs()));
      return undefined;
    }
  };
  const readDirectory = (): void => {
    if (!directory || !dial) return;
    const { entries } = directory.snapshot();
    const now = new Map(entries.map((entry) => [entry.id, entry]));
    for (const [id, before] of listed) {
      const entry = now.get(id);
      if (!entry || !sameEntry(entry, before)) forget(id);
      // The next comparison is with the object that is likely to come again.
      else listed.set(id, entry);
    }
    for (const entry of now.values()) {
      if (listed.has(entry.id) || all.has(entry.id) || entry.id === self) continue;
      listed.set(entry.id, entry);
      const endpoint = dialled(entry);
      if (!endpoint) continue;
      add(endpoint);
      endpoints.onAdded(entry.id);
    }
    if (!endpoints.settling) endpoints.onSettled();
  };
  function laidOut(nowMs: number): EndpointTable {
    if (all.size === 0 && laidOutFor === changes) return table;
    const stale = laidOutFor !== changes || linksChanged;
    if (!stale && nowMs - loadsAtMs < loadsHoldMs && nowMs < opensAtMs) return table;
    const back = readmitted(all.values(), nowMs);
    const tried = toTry(nowMs);
    const alone = all.size === 1 && local === undefined;
    const views: EndpointView[] = [];
    opensAtMs = Infinity;
    for (const endpointState of all.values()) {
      const { pausedUntilMs } = endpointState.health;
      if (pausedUntilMs > nowMs) opensAtMs = Math.min(opensAtMs, pausedUntilMs);
      views.push(
        endpointState.view(nowMs, {
          anyway: back.has(endpointState),
          afresh: endpointState === tried,
          alone,
        }),
      );
    }
    table = stale ? endpointTable(views) : withLoads(table, views);
    laidOutFor = changes;
    linksChanged = false;
    loadsAtMs = nowMs;
    return table;
  }
  const endpoints: Omit<EndpointStates, typeof Symbol.dispose> = {
    all,
    mayGrow: directory !== undefined && dial !== undefined,
    get settling() {
      return dial !== undefined && directory?.snapshot().settling === true;
    },
    get lacksEarlier() {
      const { settling, remembered } = (dial && directory?.snapshot()) ?? {};
      return settling === true && remembered !== true;
    },
    failingMs(known, tenant, nowMs) {
      const of = ranOf(known.description);
      const out = runs.out(of, tenant, known.offersBy, nowMs);
      return (id) => (out.has(id) ? Infinity : (runs.at(of, id)?.penaltyMs(nowMs) ?? 0));
    },
    pausedUntilMs: ({ endpoint, health }, of, tenant) =>
      Math.max(health.pausedUntilMs, of ? runs.pausedUntilMs(of, endpoint.info.id, tenant) : -Infinity),
    downAtMs: ({ endpoint, health }, of) =>
      Math.max(health.downAtMs, runs.at(of, endpoint.info.id)?.downAtMs ?? -Infinity),
    onAdded: () => undefined,
    onSettled: () => undefined,
    get changes() {
      return changes;
    },
    failed(endpointState, of, error, nowMs, beganMs, tenant) {
      if ((error.endpoint ?? endpointState.endpoint.info.id) !== endpointState.endpoint.info.id) return;
      // That endpoint was refused elsewhere itself (see `nothingKnown`), so its own health is not at fault.
      if (error.reason === "unauthenticated" && error.stage === "resolve") return;
      if (runs.failed(endpointState, error, nowMs, of, tenant)) return;
      endpointState.failed(error, nowMs, tenant === undefined, beganMs);
    },
    answered(endpointState, of, nowMs) {
      endpointState.answered(nowMs);
      runs.answered(of, endpointState.endpoint.info.id, nowMs);
    },
    table(known, tenant, nowMs) {
      const of = ranOf(known.description);
      return runs.charged(laidOut(nowMs), of, runs.out(of, tenant, known.offersBy, nowMs), nowMs);
    },
    tableFor(known, tenant, sought, nowMs) {
      if (all.size <= manyEndpoints) return endpoints.table(known, tenant, nowMs);
      const kept = lists.get(known);
      // An endpoint that has joined since is in the next shortlist, which is made once its offers are known.
      list = kept?.reuses === board.reuses ? kept.list : shortlist(known, board, random);
      if (list !== kept?.list) lists.set(known, { reuses: board.reuses, list });
      const of = ranOf(known.description);
      const out = runs.out(of, tenant, known.offersBy, nowMs);
      return runs.charged(list.table(sought, nowMs, out), of, out, nowMs);
    },
    get looked() {
      return all.size > manyEndpoints && list ? list.looked : all.values();
    },
    touched() {
      loadsAtMs = -Infinity;
    },
    linksStale(nowMs) {
      for (const endpointState of endpoints.looked) if (endpointState.link.stale(nowMs)) return true;
      return false;
    },
    refreshOneLink(nowMs) {
      let stalest: EndpointState | undefined;
      let stale = 0;
      for (const endpointState of endpoints.looked) {
        if (!endpointState.link.stale(nowMs)) continue;
        stale++;
        if (!stalest || endpointState.link.table.atMs < stalest.link.table.atMs) stalest = endpointState;
      }
      if (!stalest) return false;
      stalest.link.refresh(nowMs);
      return stale > 1;
    },
    async closeAll() {
      await Promise.all([...all.values()].map((endpointState) => endpointState.endpoint.close()));
      await closing.over();
    },
  };
  readDirectory();
  begun = true;
  parts.beliefs?.follow(() => {
    const nowMs = clock.nowMs();
    const proven = [...all].filter(([, state]) => state.record.proven);
    return { servers: new Map(proven.map(([id, { service }]) => [id, service.ratio(nowMs)])) };
  });
  const watching = directory?.watch(readDirectory);
  return Object.assign(endpoints, { [Symbol.dispose]: () => watching?.[Symbol.dispose]() });
}

/** Whether the directory describes an endpoint as before: it may have read all entries again because one changed. */
function sameEntry(now: EndpointInfo, before: EndpointInfo): boolean {
  return now === before || JSON.stringify(now) === JSON.stringify(before);
}
