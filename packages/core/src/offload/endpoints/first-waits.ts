import type { EndpointId } from "../../words/base/index.ts";
import { type Segment, segmentKey } from "../../words/model/index.ts";
import type { Offer } from "../../wire/endpoint/index.ts";
import { tcpSlowStartMs } from "../../decide/estimate/index.ts";
import type { FirstWaits } from "../../decide/plan/index.ts";
import { readBetween, readingOf, sizeCount, sizePosition } from "../../decide/table/index.ts";
import type { KnownModel } from "../models/index.ts";
import type { EndpointState } from "./endpoint-state.ts";
import type { Warmth } from "./warmth.ts";

/** Reads the usual time of a transfer. */
const usually = readingOf(0.5);

/**
 * Expected time until a request of so many bytes gets through on a connection that is still to be made, beyond its time on an open one: what
 * earlier connections took or the round trips of making one, and the rounds in which TCP finds out how much it may send. 0 if an open
 * connection is free.
 */
export function connectMs(state: EndpointState, bytes: number, nowMs: number, stream = false): number {
  const connecting = state.endpoint.capabilities?.connecting?.(stream);
  if (!connecting || connecting.roundTrips === 0) return 0;
  const madeMs = connecting.tookMs ?? connecting.roundTrips * usualTripMs(state, nowMs);
  return madeMs + windowMs(state, bytes, nowMs, Infinity);
}

/**
 * How much longer a request of so many bytes takes on an open connection because that has sent nothing for a while. What the belief about the
 * link learned from bodies after such pauses is in it already, so the rounds count less the more of its last bodies were of that kind.
 */
export function slowStartMs(state: EndpointState, bytes: number, nowMs: number, stream = false): number {
  const connecting = state.endpoint.capabilities?.connecting?.(stream);
  if (connecting?.roundTrips !== 0 || connecting.idleMs === undefined) return 0;
  return (1 - state.link.restartedRatio) * windowMs(state, bytes, nowMs, connecting.idleMs);
}

/** Records for `slowStartMs` on which kind of connection a request is sent now. */
export function noteConnection(state: EndpointState, bytes: number, nowMs: number, stream = false): void {
  const connecting = state.endpoint.capabilities?.connecting;
  if (!connecting) return;
  const { roundTrips = 0, idleMs = 0 } = connecting(stream) ?? {};
  state.link.began(windowMs(state, bytes, nowMs, roundTrips > 0 ? Infinity : idleMs) > 0);
}

function usualTripMs({ link: { belief } }: EndpointState, nowMs: number): number {
  const values = belief?.roundTripMs(nowMs).values;
  return values?.[values.length / 2] ?? 0;
}

function windowMs(state: EndpointState, bytes: number, nowMs: number, idleMs: number): number {
  const roundTripMs = usualTripMs(state, nowMs);
  const { index, fraction } = sizePosition(bytes);
  const movingMs = readBetween(state.link.table.up, sizeCount, index, fraction, usually) - roundTripMs / 2;
  return tcpSlowStartMs(bytes, roundTripMs, bytes / Math.max(0.001, movingMs), idleMs);
}

/** Inputs of `firstWaits`. */
export interface FirstWaitParts {
  readonly known: KnownModel;
  readonly warmth: Warmth;
  readonly endpoints: ReadonlyMap<EndpointId, EndpointState>;
  /** This device. */
  readonly localId: EndpointId | undefined;
  /** Bytes that the request would send. */
  readonly bytes: number;
  /** Whether it is answered any number of times. */
  readonly stream: boolean;
  readonly nowMs: number;
}

/** Waits of a request before a first run, as the planner reads them. */
export function firstWaits(parts: FirstWaitParts): FirstWaits {
  const { known, warmth, endpoints, localId, bytes, stream, nowMs } = parts;
  const { name: model, version, digest } = known.description;
  const onceEach = (find: (state: EndpointState) => number): ((id: EndpointId) => number) => {
    const found = new Map<EndpointId, number>();
    return (id) => {
      const before = found.get(id);
      if (before !== undefined) return before;
      const state = endpoints.get(id);
      const waitMs = state ? find(state) : 0;
      found.set(id, waitMs);
      return waitMs;
    };
  };
  return {
    loadMs(id = localId, part) {
      if (id === undefined) return 0;
      const segment: Segment = { model, version, digest, ...part };
      return warmth.waitMs(id, segment, id === localId ? undefined : offerFor(known, id, segment));
    },
    connectMs: onceEach((state) => connectMs(state, bytes, nowMs, stream)),
    slowStartMs: onceEach((state) => slowStartMs(state, bytes, nowMs, stream)),
  };
}

/** The offer of an endpoint for a segment, if it says that the segment is to be loaded first. */
function offerFor({ offersBy }: KnownModel, id: EndpointId, segment: Segment): Offer | undefined {
  const offers = offersBy.get(id);
  if (!offers?.some(({ loadMs = 0 }) => loadMs > 0)) return undefined;
  const key = segmentKey(segment);
  return offers.find((offer) => offer.loadMs !== undefined && segmentKey(offer.segment) === key);
}
