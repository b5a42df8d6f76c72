import {
  type Clock,
  dropOldest,
  type EndpointId,
  housekeepingCall,
  failureEvent,
  LongshoreError,
  type Observer,
  type TenantId,
} from "../../words/base/index.ts";
import type { Endpoint, Offer } from "../../wire/endpoint/index.ts";
import { endCut, type Segment, segmentKey, startCut } from "../../words/model/index.ts";
import type { EndpointState } from "./endpoint-state.ts";
import type { EndpointStates } from "./endpoint-states.ts";

/** The parts that a decision may use. */
export type PartFilter = (endpoint: EndpointId, segment: Segment) => boolean;

/**
 * Which parts of models are present, and which are loaded where they would run, as far as known. Loading a part of a large model takes
 * seconds, in which frames of a stream would pile up behind the first that needs it. Fetching a part takes longer, for any request.
 * Meanwhile they use other parts.
 */
export interface Warmth extends Disposable {
  /** Whether a request for it need not wait for loading. Also true if the endpoint cannot be told to load it in advance. */
  readonly ready: PartFilter;
  /** Whether it needs no fetching, and no loading at an endpoint whose loads took too long. Undefined if this holds everywhere. */
  readonly here: PartFilter | undefined;
  /** The same, and no loading on this device where it has the whole model: loading a head takes longer than running a request. */
  readonly loaded: PartFilter | undefined;
  /**
   * Whether it is worth a plan: present, or a small part of the model that this device may fetch. Large parts, and parts that end in the
   * answer, are fetched only if nothing else will do. Undefined if nothing is ever fetched.
   */
  readonly wanted: PartFilter | undefined;
  /** Loads the part, after fetching it if necessary. Does nothing if it is loaded or on its way. */
  prepare(endpoint: EndpointId, segment: Segment, tenant: TenantId): void;
  /** Whether an endpoint fetches it now because `prepare` was called. */
  fetches(endpoint: EndpointId, segment: Segment): boolean;
  /** Whether an endpoint loads something on request. */
  loads(endpoint: EndpointId): boolean;
  /** Average time in which an endpoint loaded a part of a content, in milliseconds; 0 if it never did. */
  loadMs(endpoint: EndpointId, segment: Segment): number;
  /**
   * Expected time until it is fetched and loaded, in milliseconds; 0 if it is, or if nothing is known. `offer` is what another endpoint
   * says of it.
   */
  waitMs(endpoint: EndpointId, segment: Segment, offer: Offer | undefined): number;
  /** It ran there, so it is loaded. */
  ran(endpoint: EndpointId, segment: Segment): void;
  /**
   * Records that a run of it that began then was given up. Returns whether it may just not have been loaded, which says nothing about its
   * runs. Requests that have an alternative use it until the part is loaded. Without an answer in between this applies once for each
   * endpoint, and to runs that began before it was known.
   */
  cold(endpointState: EndpointState, segment: Segment, beganMs: number): boolean;
}

/** The most parts and endpoints that are kept. The oldest is dropped and requested once more. */
const mostParts = 4096;

/** An endpoint that has not loaded a part after this time may have lost the request. Frames try it then. In milliseconds. */
const longestLoadMs = 300_000;
/** A part that could not be fetched is not tried again for this long, in milliseconds. */
const againMs = 30_000;

/** A part that is to be fetched spares at least the other half of the model. */
const mostOfWhole = 0.5;

/**
 * The state of a part: loaded since an instant; or known since an instant to be impossible to load in advance, so that requests may use it
 * `anyway`; or not fetched, and not tried again until an instant.
 */
type Known =
  | "cold"
  | "loading"
  | { readonly readyAtMs: number; readonly anyway?: true }
  | { readonly failedUntilMs: number };

/** An endpoint that loads a part for longer than this is told to load it again, in milliseconds. */
const longestColdMs = 30_000;

/** The part that an endpoint had not loaded, when that was found, and its last answer before. */
interface Cold {
  readonly key: string;
  readonly atMs: number;
  readonly answeredAtMs: number;
}

/** @param self The endpoint that sends the requests to load. */
export function warmth(
  local: Endpoint | undefined,
  endpoints: Pick<EndpointStates, "all">,
  self: EndpointId,
  { clock, observer }: { readonly clock: Clock; readonly observer: Observer },
): Warmth {
  const parts = new Map<string, Known>();
  const closed = new AbortController();
  // Another content under the same name has other parts.
  const keyOf = (id: EndpointId, segment: Segment): string =>
    `${id} ${segment.digest} ${segmentKey(segment)}`;
  const endpointOf = (id: EndpointId): Endpoint | undefined =>
    id === local?.info.id ? local : endpoints.all.get(id)?.endpoint;
  /** One at a time: beliefs that are new may point to one cut after another. */
  let fetching = false;
  /** Whether this device has run some model whole, and can be told to load parts. */
  let wholeHere = false;
  /** By endpoint: how many parts it loads; by content there: how many were loaded, and how long that took in all. */
  const underWay = new Map<EndpointId, number>();
  const took = new Map<string, { readonly count: number; readonly ms: number }>();
  /** When an offer of something that is to be loaded was read first: what ran later was loaded. */
  const readAtMs = new WeakMap<Offer, number>();
  /** The part last found not to be loaded, by endpoint. */
  const cold = new Map<EndpointId, Cold>();

  function note(key: string, state: Known): void {
    parts.set(key, state);
    dropOldest(parts, mostParts);
  }

  const lacks = (id: EndpointId, segment: Segment): number =>
    endpointOf(id)?.capabilities.lacks?.(segment) ?? 0;
  /** This device reports what it unloaded, which may happen at any time: for another model, or on request. */
  const isReady = (id: EndpointId, segment: Segment): boolean => {
    const known = parts.get(keyOf(id, segment));
    if (readyAtMs(known) === -Infinity) return false;
    return id !== local?.info.id || isAnyway(known) || local.capabilities.loaded?.(segment) !== false;
  };
  /** Whether an endpoint is still loading the part that it was found to lack. */
  function loads({ key, atMs }: Cold): boolean {
    const known = parts.get(key);
    return (known === "cold" || known === "loading") && clock.nowMs() - atMs < longestColdMs;
  }
  function anyLoads(): boolean {
    for (const found of cold.values()) if (loads(found)) return true;
    return false;
  }
  /** Whether a request for the part would wait for a load. */
  function waits(id: EndpointId, segment: Segment): boolean {
    const found = cold.size === 0 ? undefined : cold.get(id);
    return found !== undefined && loads(found) && !isReady(id, segment);
  }
  const here: PartFilter = (id, segment) => lacks(id, segment) === 0 && !waits(id, segment);
  const loaded: PartFilter = (id, segment) => {
    if (!here(id, segment)) return false;
    if (id !== local?.info.id || isReady(id, segment)) return true;
    return !isReady(id, { ...segment, from: startCut, to: endCut });
  };

  function wanted(id: EndpointId, segment: Segment): boolean {
    const bytes = lacks(id, segment);
    if (bytes === 0) return true;
    if (segment.to === endCut) return false;
    const whole = lacks(id, { ...segment, from: startCut, to: endCut });
    if (bytes === Infinity || bytes > mostOfWhole * whole) return false;
    const known = parts.get(keyOf(id, segment));
    return !hasFailed(known, clock.nowMs());
  }

  return {
    get here() {
      return local?.capabilities.lacks || anyLoads() ? here : undefined;
    },
    get loaded() {
      return local?.capabilities.lacks || wholeHere || anyLoads() ? loaded : undefined;
    },
    wanted: local?.capabilities.lacks ? wanted : undefined,
    ready: (id, segment) =>
      here(id, segment) && (endpointOf(id)?.capabilities.prepare === undefined || isReady(id, segment)),
    prepare(id, segment, tenant) {
      const key = keyOf(id, segment);
      const endpoint = endpointOf(id);
      if (!endpoint?.capabilities.prepare) return;
      const known = parts.get(key);
      const absent = lacks(id, segment) > 0;
      if (known === "loading" || hasFailed(known, clock.nowMs())) return;
      if (absent ? fetching : isReady(id, segment)) return;
      note(key, "loading");
      if (absent) fetching = true;
      const deadlineMs = clock.nowMs() + longestLoadMs;
      const call = {
        ...housekeepingCall(`prepare-${id}`, closed.signal),
        deadlineMs,
        tenant,
        path: [self],
      };
      const beganMs = clock.nowMs();
      underWay.set(id, (underWay.get(id) ?? 0) + 1);
      const over = (state: Known): void => {
        if (absent) fetching = false;
        const others = (underWay.get(id) ?? 1) - 1;
        if (others > 0) underWay.set(id, others);
        else underWay.delete(id);
        note(key, state);
      };
      const prepared = (): void => {
        over({ readyAtMs: clock.nowMs() });
        // Fetching it first keeps no core busy.
        if (absent) return;
        const { count, ms } = took.get(contentOf(id, segment)) ?? { count: 0, ms: 0 };
        took.set(contentOf(id, segment), { count: count + 1, ms: ms + clock.nowMs() - beganMs });
        dropOldest(took, mostParts);
      };
      endpoint.capabilities.prepare(segment, call).then(prepared, (thrown: unknown) => {
        // The error of a failed load appears in the request that needs the part: it may run all the same, or report why not.
        over({ readyAtMs: clock.nowMs(), anyway: true });
        if (lacks(id, segment) === 0) return;
        const atMs = clock.nowMs();
        note(key, { failedUntilMs: atMs + againMs });
        const error = LongshoreError.from(thrown, "resolve", "fetching a part");
        const { id: callId, tenant } = call;
        observer.record(failureEvent(error, { id: callId, tenant, model: segment.model }, atMs));
      });
    },
    fetches: (id, segment) => parts.get(keyOf(id, segment)) === "loading" && lacks(id, segment) > 0,
    loads: (id) => underWay.has(id),
    loadMs(id, segment) {
      const { count, ms } = took.get(contentOf(id, segment)) ?? { count: 1, ms: 0 };
      return ms / count;
    },
    waitMs(id, segment, offer) {
      if (id === local?.info.id) return local.capabilities.loadMs?.(segment) ?? 0;
      if (offer?.loadMs === undefined) return 0;
      const readMs = readAtMs.get(offer) ?? clock.nowMs();
      readAtMs.set(offer, readMs);
      const key = keyOf(id, segment);
      const known = parts.get(key);
      // An endpoint that could not load it in advance loads it for the first request.
      if (isAnyway(known)) return offer.loadMs;
      if (readyAtMs(known) >= readMs) return 0;
      // It was loaded once, and was unloaded since.
      if (readyAtMs(known) > -Infinity) parts.delete(key);
      return offer.loadMs;
    },
    ran(id, segment) {
      if (!endpointOf(id)?.capabilities.prepare) return;
      wholeHere ||= id === local?.info.id && segment.from === startCut && segment.to === endCut;
      note(keyOf(id, segment), { readyAtMs: clock.nowMs() });
    },
    cold({ endpoint, health, record: { answeredAtMs } }, segment, beganMs) {
      const { id } = endpoint.info;
      const key = keyOf(id, segment);
      // An endpoint that went and came back has nothing loaded.
      if (!endpoint.capabilities.prepare || readyAtMs(parts.get(key)) > health.downAtMs) return false;
      const before = cold.get(id);
      if (before?.answeredAtMs === answeredAtMs) return beganMs <= before.atMs;
      if (parts.get(key) !== "loading") note(key, "cold");
      cold.delete(id);
      cold.set(id, { key, atMs: clock.nowMs(), answeredAtMs });
      dropOldest(cold, mostParts);
      return true;
    },
    [Symbol.dispose]() {
      closed.abort(new LongshoreError("shutting-down", "plan", "the offloader was closed"));
    },
  };
}

function contentOf(id: EndpointId, { model, digest }: Segment): string {
  return `${id} ${model} ${digest}`;
}

/** Since when a part is loaded; -Infinity if it is not, as far as known. */
function readyAtMs(known: Known | undefined): number {
  return typeof known === "object" && "readyAtMs" in known ? known.readyAtMs : -Infinity;
}

function isAnyway(known: Known | undefined): boolean {
  return typeof known === "object" && "anyway" in known;
}

function hasFailed(known: Known | undefined, nowMs: number): boolean {
  return typeof known === "object" && "failedUntilMs" in known && known.failedUntilMs > nowMs;
}
