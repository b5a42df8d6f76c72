import {
  type Clock,
  type EndpointId,
  housekeepingCall,
  LongshoreError,
  type TenantId,
} from "../base/index.ts";
import type { Endpoint } from "../endpoint/index.ts";
import { type Segment, segmentKey } from "../model/index.ts";
import type { Places } from "./places.ts";

/**
 * Which parts of models are loaded where they would run, as far as is known here. Loading a part of a large model takes
 * seconds, in which frames of a stream would pile up behind the first one that wants it: they go another way meanwhile.
 */
export interface Warmth extends Disposable {
  /** Whether a request for it need not wait. So it is taken to be where the place cannot be asked to load it beforehand. */
  ready(endpoint: EndpointId, segment: Segment): boolean;
  /** Has it loaded, unless it is or that is under way. */
  prepare(endpoint: EndpointId, segment: Segment, tenant: TenantId): void;
  /** It ran there, so it is loaded. */
  ran(endpoint: EndpointId, segment: Segment): void;
}

/** Parts that are remembered; the oldest goes, and is asked for once more. */
const mostParts = 4096;
/** A place that has not loaded a part after so many milliseconds may have lost the question: frames find out. */
const longestLoadMs = 300_000;

/** @param self Who asks. */
export function warmth(
  local: Endpoint | undefined,
  places: Pick<Places, "all">,
  self: EndpointId,
  clock: Clock,
): Warmth {
  const parts = new Map<string, "loading" | "ready">();
  const closed = new AbortController();
  const keyOf = (id: EndpointId, segment: Segment): string => `${id} ${segmentKey(segment)}`;
  const endpointOf = (id: EndpointId): Endpoint | undefined =>
    id === local?.info.id ? local : places.all.get(id)?.endpoint;

  function note(key: string, state: "loading" | "ready"): void {
    const [oldest] = parts.keys();
    if (parts.size >= mostParts && oldest !== undefined && !parts.has(key)) parts.delete(oldest);
    parts.set(key, state);
  }

  return {
    ready: (id, segment) =>
      endpointOf(id)?.prepare === undefined || parts.get(keyOf(id, segment)) === "ready",
    prepare(id, segment, tenant) {
      const key = keyOf(id, segment);
      const endpoint = endpointOf(id);
      if (parts.has(key) || !endpoint?.prepare) return;
      note(key, "loading");
      const deadlineMs = clock.nowMs() + longestLoadMs;
      const call = {
        ...housekeepingCall(`prepare-${id}`, closed.signal),
        deadlineMs,
        tenant,
        path: [self],
      };
      // One that cannot be loaded is told of by the request that wants it: it may run all the same, or say why not.
      const over = (): void => note(key, "ready");
      endpoint.prepare(segment, call).then(over, over);
    },
    ran: (id, segment) => note(keyOf(id, segment), "ready"),
    [Symbol.dispose]() {
      closed.abort(new LongshoreError("shutting-down", "plan", "the offloader was closed"));
    },
  };
}
