/**
 * Finding out about links that nobody uses. Whoever decides by belief never learns what it does not try: a first belief
 * that is too low, or a stall that is long over, would keep every request here for good. So after a request, a place whose
 * link could make it the quicker one at some rate is sent a short train of bytes that mean nothing. Place and link say
 * how many and how often (`probeBytes`): a small share of the link, none while it is in use.
 */
import { type Clock, type EndpointId, housekeepingCall, LongshoreError } from "../base/index.ts";
import { type Link, meanOf } from "../estimate/index.ts";
import { endCut, type Features } from "../model/index.ts";
import { bucketFor, segmentMeanMs } from "../table/index.ts";
import { type KnownModel, slownessHere } from "./known-model.ts";
import type { Place } from "./place.ts";

/** Sends probes off the path of requests. Disposing gives up those under way. */
export interface LinkProbes extends Disposable {
  consider(known: KnownModel, features: Features, nowMs: number): void;
}

/** A place must be quicker by this much at the best to be worth trying. */
const worthRatio = 0.95;
/** A link that cannot pass a train in this time is slow enough to know. */
const probeDeadlineMs = 2000;
/** What took longer than this was too long a train for the link as it is now. */
const longProbeMs = 200;
const mostBytes = 65_536;
const leastBytes = 1460;
/** Links are not considered more often than this, in milliseconds. */
const restMs = 200;

/** Starts with nothing under way. `news` is told when a probe is over, whatever it showed. */
export function linkProbes(
  parts: { readonly clock: Clock; readonly links: (endpoint: EndpointId) => Link | undefined },
  places: { readonly looked: Iterable<Place>; touched(): void },
  news: () => void,
): LinkProbes {
  const { clock } = parts;
  const underWay = new Map<string, AbortController>();
  const consideredMs = new Map<string, number>();
  /** The longest train for each place: cut down when one was slow or lost, so that probes never clog a link that collapsed. */
  const limits = new Map<string, number>();

  const limitOf = (id: string): number => limits.get(id) ?? mostBytes;

  async function send(place: Place, bytes: number): Promise<void> {
    const { endpoint } = place;
    const { id } = endpoint.info;
    const control = new AbortController();
    const startedMs = clock.nowMs();
    underWay.set(id, control);
    const timer = clock.timer(probeDeadlineMs, () =>
      control.abort(new LongshoreError("no-answer", "transport", `${id} did not take a probe in time`)),
    );
    try {
      const call = {
        ...housekeepingCall(`probe-${id}`, control.signal),
        deadlineMs: clock.nowMs() + probeDeadlineMs,
      };
      await endpoint.probe?.(bytes, call);
      const slow = clock.nowMs() - startedMs > longProbeMs;
      limits.set(
        id,
        slow ? Math.max(leastBytes, bytes / 4) : Math.min(mostBytes, 2 * Math.max(bytes, limitOf(id))),
      );
    } catch {
      limits.set(id, Math.max(leastBytes, bytes / 8));
      // What a failed probe says, the link has learned; whether the place is well is for requests and offers to find out.
    } finally {
      timer[Symbol.dispose]();
      underWay.delete(id);
      place.linkTouched();
      places.touched();
      news();
    }
  }

  return {
    consider(known, features, nowMs) {
      for (const place of places.looked) {
        const { id } = place.endpoint.info;
        const link = parts.links(id);
        if (!link?.probeBytes || !place.endpoint.probe || underWay.has(id)) continue;
        if (nowMs - (consideredMs.get(id) ?? -Infinity) < restMs) continue;
        consideredMs.set(id, nowMs);
        if (place.health.unavailable(nowMs) !== undefined) continue;
        if (!couldPay(known, id, features, meanOf(link.roundTripMs(nowMs)))) continue;
        const bytes = Math.min(link.probeBytes("up", nowMs), Math.round(limitOf(id)));
        if (bytes > 0) void send(place, bytes);
      }
    },
    [Symbol.dispose]() {
      const closed = new LongshoreError("shutting-down", "transport", "the offloader was closed");
      for (const control of underWay.values()) control.abort(closed);
    },
  };
}

/** Whether some segment there, on a link that takes no time but its round trip, is quicker than all of it here. */
function couldPay(known: KnownModel, place: string, features: Features, roundTripMs: number): boolean {
  if (!known.here) return true;
  const slowness = slownessHere(known);
  for (const offer of known.offersBy.get(place) ?? []) {
    if (offer.segment.to !== endCut) continue;
    const at = known.table.variants.findIndex(({ name }) => name === offer.segment.variant);
    const variant = known.table.variants[at];
    const position = variant ? bucketFor(variant, features) : -1;
    const bucket = variant?.buckets[position];
    const from = bucket?.index.get(offer.segment.from);
    if (!bucket || from === undefined) continue;
    const slow = slowness[at]?.[position] ?? NaN;
    // A variant that cannot run here has nothing here to be compared with.
    if (Number.isNaN(slow)) return true;
    const hereMs = segmentMeanMs(bucket, 0, bucket.cuts.length - 1) * slow;
    const headMs = segmentMeanMs(bucket, 0, from) * slow;
    if (headMs + meanOf(offer.completionMs) + roundTripMs < worthRatio * hereMs) return true;
  }
  return false;
}
