import {
  type Clock,
  type EndpointId,
  housekeepingCall,
  LongshoreError,
  type Observer,
  type TenantId,
} from "../base/index.ts";
import type { Endpoint } from "../endpoint/index.ts";
import { endCut, type Segment, segmentKey, startCut } from "../model/index.ts";
import type { Places } from "./places.ts";

/** Which parts a decision keeps to. */
export type PartFilter = (endpoint: EndpointId, segment: Segment) => boolean;

/**
 * Which parts of models are here at all, and loaded where they would run, as far as is known. Loading a part of a large model
 * takes seconds, in which frames of a stream would pile up behind the first one that wants it; fetching one takes longer, for
 * any request. They go another way meanwhile.
 */
export interface Warmth extends Disposable {
  /** Whether a request for it need not wait. So it is taken to be where the place cannot be asked to load it beforehand. */
  readonly ready: PartFilter;
  /** Whether nothing has to be fetched for it; undefined where nothing ever has. */
  readonly here: PartFilter | undefined;
  /**
   * Whether it is worth planning with: here, or a part that is little of the model, which this place may fetch. What is most of
   * it, and what ends in the answer, is fetched only where nothing else will do. Undefined as `here`.
   */
  readonly wanted: PartFilter | undefined;
  /** Has it loaded, and fetched before, unless it is or that is under way. */
  prepare(endpoint: EndpointId, segment: Segment, tenant: TenantId): void;
  /** It ran there, so it is loaded. */
  ran(endpoint: EndpointId, segment: Segment): void;
}

/** Parts that are remembered; the oldest goes, and is asked for once more. */
const mostParts = 4096;
/** A place that has not loaded a part after so many milliseconds may have lost the question: frames find out. */
const longestLoadMs = 300_000;
/** What could not be fetched is not tried again before so many milliseconds are over. */
const againMs = 30_000;

/** A part that is to be fetched spares at least the other half of the model. */
const mostOfWhole = 0.5;

/** What is known of a part; of one that could not be fetched, until when it is left alone. */
type Known = "loading" | "ready" | { readonly failedUntilMs: number };

/** @param self Who asks. */
export function warmth(
  local: Endpoint | undefined,
  places: Pick<Places, "all">,
  self: EndpointId,
  { clock, observer }: { readonly clock: Clock; readonly observer: Observer },
): Warmth {
  const parts = new Map<string, Known>();
  const closed = new AbortController();
  // Another content under the same name has other parts.
  const keyOf = (id: EndpointId, segment: Segment): string =>
    `${id} ${segment.digest} ${segmentKey(segment)}`;
  const endpointOf = (id: EndpointId): Endpoint | undefined =>
    id === local?.info.id ? local : places.all.get(id)?.endpoint;
  /** One at a time: beliefs that are new may point to one cut after another. */
  let fetching = false;

  function note(key: string, state: Known): void {
    const [oldest] = parts.keys();
    if (parts.size >= mostParts && oldest !== undefined && !parts.has(key)) parts.delete(oldest);
    parts.set(key, state);
  }

  const lacks = (id: EndpointId, segment: Segment): number => endpointOf(id)?.lacks?.(segment) ?? 0;
  const here: PartFilter = (id, segment) => lacks(id, segment) === 0;

  function wanted(id: EndpointId, segment: Segment): boolean {
    const bytes = lacks(id, segment);
    if (bytes === 0) return true;
    if (segment.to === endCut) return false;
    const whole = lacks(id, { ...segment, from: startCut, to: endCut });
    if (bytes === Infinity || bytes > mostOfWhole * whole) return false;
    const known = parts.get(keyOf(id, segment));
    return typeof known !== "object" || known.failedUntilMs <= clock.nowMs();
  }

  return {
    ...(local?.lacks ? { here, wanted } : { here: undefined, wanted: undefined }),
    ready: (id, segment) =>
      here(id, segment) &&
      (endpointOf(id)?.prepare === undefined || parts.get(keyOf(id, segment)) === "ready"),
    prepare(id, segment, tenant) {
      const key = keyOf(id, segment);
      const endpoint = endpointOf(id);
      if (!endpoint?.prepare) return;
      const known = parts.get(key);
      const absent = !here(id, segment);
      const failed = typeof known === "object" && known.failedUntilMs > clock.nowMs();
      if (known === "loading" || failed || (known === "ready" && !absent) || (absent && fetching)) return;
      note(key, "loading");
      if (absent) fetching = true;
      const deadlineMs = clock.nowMs() + longestLoadMs;
      const call = {
        ...housekeepingCall(`prepare-${id}`, closed.signal),
        deadlineMs,
        tenant,
        path: [self],
      };
      const over = (): void => {
        if (absent) fetching = false;
        note(key, "ready");
      };
      endpoint.prepare(segment, call).then(over, (thrown: unknown) => {
        over();
        // One that cannot be loaded is told of by the request that wants it: it may run all the same, or say why not.
        if (here(id, segment)) return;
        const atMs = clock.nowMs();
        note(key, { failedUntilMs: atMs + againMs });
        const { stage, reason, message } = LongshoreError.from(thrown, "resolve", "fetching a part");
        observer.record({ kind: "failure", atMs, callId: call.id, stage, reason, message });
      });
    },
    ran: (id, segment) => note(keyOf(id, segment), "ready"),
    [Symbol.dispose]() {
      closed.abort(new LongshoreError("shutting-down", "plan", "the offloader was closed"));
    },
  };
}
