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
import type { Endpoint } from "../../wire/endpoint/index.ts";
import { endCut, type Segment, segmentKey, startCut } from "../../words/model/index.ts";
import type { EndpointState } from "./endpoint-state.ts";
import type { EndpointStates } from "./endpoint-states.ts";

/** Which parts a decision keeps to. */
export type PartFilter = (endpoint: EndpointId, segment: Segment) => boolean;

/**
 * Which parts of models are here at all, and loaded where they would run, as far as is known. Loading a part of a large model
 * takes seconds, in which frames of a stream would pile up behind the first one that wants it; fetching one takes longer, for
 * any request. They go another way meanwhile.
 */
export interface Warmth extends Disposable {
  /** Whether a request for it need not wait. So it is taken to be where the endpoint cannot be asked to load it beforehand. */
  readonly ready: PartFilter;
  /**
   * Whether nothing has to be fetched for it, nor loaded at an endpoint that was found to take too long for it; undefined where nothing
   * has, anywhere.
   */
  readonly here: PartFilter | undefined;
  /** The same, nor loaded on this device, where the whole model is: a head takes longer to load than a request to run. */
  readonly loaded: PartFilter | undefined;
  /**
   * Whether it is worth planning with: here, or a part that is little of the model, which this endpoint may fetch. What is most of
   * it, and what ends in the answer, is fetched only where nothing else will do. Undefined where nothing is ever fetched.
   */
  readonly wanted: PartFilter | undefined;
  /** Has it loaded, and fetched before, unless it is or that is under way. */
  prepare(endpoint: EndpointId, segment: Segment, tenant: TenantId): void;
  /** Whether an endpoint fetches it now, since `prepare` asked for that. */
  fetches(endpoint: EndpointId, segment: Segment): boolean;
  /** Whether an endpoint loads something that it was asked to. */
  loads(endpoint: EndpointId): boolean;
  /** How long an endpoint took on average to load a part of a content, in milliseconds; 0 where it never did. */
  loadMs(endpoint: EndpointId, segment: Segment): number;
  /** It ran there, so it is loaded. */
  ran(endpoint: EndpointId, segment: Segment): void;
  /**
   * A run of it that began there then took so long that nobody waited: whether it may well be that it was not loaded, which
   * says nothing of its runs. Requests that can go another way do so until it is. Without an answer in between that is so once
   * at each endpoint, and for what began before it was known.
   */
  cold(endpointState: EndpointState, segment: Segment, beganMs: number): boolean;
}

/** Parts that are remembered, and endpoints; the oldest goes, and is asked for once more. */
const mostParts = 4096;

/** An endpoint that has not loaded a part after so many milliseconds may have lost the question: frames find out. */
const longestLoadMs = 300_000;
/** What could not be fetched is not tried again before so many milliseconds are over. */
const againMs = 30_000;

/** A part that is to be fetched spares at least the other half of the model. */
const mostOfWhole = 0.5;

/**
 * What is known of a part: since when it is loaded, or since when it is known that it cannot be and may be asked for `anyway`; of one
 * that could not be fetched, until when it is left alone.
 */
type Known =
  | "cold"
  | "loading"
  | { readonly readyAtMs: number; readonly anyway?: true }
  | { readonly failedUntilMs: number };

/** An endpoint that takes longer for loading a part is asked for it again, in milliseconds. */
const longestColdMs = 30_000;

/** The part that an endpoint was found not to have loaded, when, and its last answer before. */
interface Cold {
  readonly key: string;
  readonly atMs: number;
  readonly answeredAtMs: number;
}

/** @param self Who asks. */
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
  /** This device has run some model whole, and can be asked to load parts. */
  let wholeHere = false;
  /** By endpoint: how many parts it loads; by content there: how many were loaded, and how long that took in all. */
  const underWay = new Map<EndpointId, number>();
  const took = new Map<string, { readonly count: number; readonly ms: number }>();
  /** What was found cold last, by endpoint. */
  const cold = new Map<EndpointId, Cold>();

  function note(key: string, state: Known): void {
    parts.set(key, state);
    dropOldest(parts, mostParts);
  }

  const lacks = (id: EndpointId, segment: Segment): number =>
    endpointOf(id)?.capabilities?.lacks?.(segment) ?? 0;
  /** This device says what it has let go, which may be any time: for another model, or since that was unloaded. */
  const isReady = (id: EndpointId, segment: Segment): boolean => {
    const known = parts.get(keyOf(id, segment));
    if (readyAtMs(known) === -Infinity) return false;
    return id !== local?.info.id || isAnyway(known) || local.capabilities?.loaded?.(segment) !== false;
  };
  /** Whether an endpoint is still at what it was found to have to load. */
  function loads({ key, atMs }: Cold): boolean {
    const known = parts.get(key);
    return (known === "cold" || known === "loading") && clock.nowMs() - atMs < longestColdMs;
  }
  function anyLoads(): boolean {
    for (const found of cold.values()) if (loads(found)) return true;
    return false;
  }
  /** What it has not loaded would wait for that, too. */
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
      return local?.capabilities?.lacks || anyLoads() ? here : undefined;
    },
    get loaded() {
      return local?.capabilities?.lacks || wholeHere || anyLoads() ? loaded : undefined;
    },
    wanted: local?.capabilities?.lacks ? wanted : undefined,
    ready: (id, segment) =>
      here(id, segment) && (endpointOf(id)?.capabilities?.prepare === undefined || isReady(id, segment)),
    prepare(id, segment, tenant) {
      const key = keyOf(id, segment);
      const endpoint = endpointOf(id);
      if (!endpoint?.capabilities?.prepare) return;
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
      endpoint.capabilities?.prepare(segment, call).then(prepared, (thrown: unknown) => {
        // One that cannot be loaded is told of by the request that wants it: it may run all the same, or say why not.
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
    ran(id, segment) {
      if (!endpointOf(id)?.capabilities?.prepare) return;
      wholeHere ||= id === local?.info.id && segment.from === startCut && segment.to === endCut;
      note(keyOf(id, segment), { readyAtMs: clock.nowMs() });
    },
    cold({ endpoint, health, answeredAtMs }, segment, beganMs) {
      const { id } = endpoint.info;
      const key = keyOf(id, segment);
      // An endpoint that went and came back has nothing loaded.
      if (!endpoint.capabilities?.prepare || readyAtMs(parts.get(key)) > health.downAtMs) return false;
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

/** Since when a part is loaded; -Infinity where it is not, as far as is known. */
function readyAtMs(known: Known | undefined): number {
  return typeof known === "object" && "readyAtMs" in known ? known.readyAtMs : -Infinity;
}

function isAnyway(known: Known | undefined): boolean {
  return typeof known === "object" && "anyway" in known;
}

function hasFailed(known: Known | undefined, nowMs: number): boolean {
  return typeof known === "object" && "failedUntilMs" in known && known.failedUntilMs > nowMs;
}
