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
import { type EndpointState, followEndpoint } from "./endpoint-state.ts";

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

/** Which endpoints there are: those that were given, and those of the directory. */
export interface Membership {
  /** Whether endpoints may come: there is a directory to name them. */
  readonly mayGrow: boolean;
  /** Whether the directory may not name all of its endpoints yet. */
  readonly settling: boolean;
  /** Whether endpoints may be missing that were listed before this process started. */
  readonly lacksEarlier: boolean;
  /** Counts changes of the set of endpoints. */
  readonly changes: number;
  /** Called for each endpoint that is added later. */
  onAdded: (id: EndpointId) => void;
  /** Called after the directory has settled. */
  onSettled: () => void;
}

/** The callbacks of a membership. */
export interface MemberEvents {
  added(state: EndpointState): void;
  removed(id: EndpointId): void;
  /** Something happened at an endpoint; `link`: the table of its link was computed again. */
  changed(id: EndpointId, link: boolean): void;
}

/** A membership that closes what it dialled. */
export interface OwnedMembership extends Membership, Disposable {
  /** Closes all endpoints, and waits for those that have left. */
  closeAll(): Promise<void>;
}

/** Keeps `all` as the directory has it. */
export function followMembers(
  parts: EndpointsParts,
  self: EndpointId,
  all: Map<EndpointId, EndpointState>,
  events: MemberEvents,
): OwnedMembership {
  const { clock, random, links, hedges, directory, dial } = parts;
  /** The directory entry with which each endpoint was dialled, or could not be. */
  const listed = new Map<EndpointId, EndpointInfo>();
  const closing = new UnderWay();
  let changes = 0;
  /** Whether the first endpoints were added: those added later get a slow start. */
  let begun = false;
  const add = (endpoint: Endpoint): void => {
    const { id } = endpoint.info;
    if (id === self) return;
    const joins = begun && all.size > 0;
    const endpointState = followEndpoint(endpoint, links(id), clock, random, hedges, events.changed, joins);
    const before = parts.beliefs?.server(id);
    if (before) endpointState.service.remember(before.ratio, before.ageMs, clock.nowMs());
    all.set(id, endpointState);
    events.added(endpointState);
    changes++;
  };
  /** Requests under way there go on; new ones find another endpoint, or the endpoint again. */
  const forget = (id: EndpointId): void => {
    const gone = all.get(id);
    listed.delete(id);
    all.delete(id);
    events.removed(id);
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
      membership.onAdded(entry.id);
    }
    if (!membership.settling) membership.onSettled();
  };
  const membership: Membership = {
    mayGrow: directory !== undefined && dial !== undefined,
    get settling() {
      return dial !== undefined && directory?.snapshot().settling === true;
    },
    get lacksEarlier() {
      const { settling, remembered } = (dial && directory?.snapshot()) ?? {};
      return settling === true && remembered !== true;
    },
    get changes() {
      return changes;
    },
    onAdded: () => undefined,
    onSettled: () => undefined,
  };
  for (const endpoint of parts.endpoints ?? []) add(endpoint);
  readDirectory();
  begun = true;
  const watching = directory?.watch(readDirectory);
  return Object.assign(membership, {
    async closeAll() {
      await Promise.all([...all.values()].map(({ endpoint }) => endpoint.close()));
      await closing.over();
    },
    [Symbol.dispose]: () => watching?.[Symbol.dispose](),
  });
}

/** Whether the directory describes an endpoint as before: it may have read all entries again because one changed. */
function sameEntry(now: EndpointInfo, before: EndpointInfo): boolean {
  return now === before || JSON.stringify(now) === JSON.stringify(before);
}
