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
export function connectMs({ endpoint, link }: EndpointState, bytes: number, nowMs: number): number {
  const connecting = endpoint.capabilities?.connecting?.();
  if (!connecting) return 0;
  const { belief, table } = link;
  const values = belief?.roundTripMs(nowMs).values;
  const roundTripMs = values?.[values.length / 2] ?? 0;
  const madeMs = connecting.tookMs ?? connecting.roundTrips * roundTripMs;
  const { index, fraction } = sizePosition(bytes);
  const movingMs = readBetween(table.up, sizeCount, index, fraction, usually) - roundTripMs / 2;
  return madeMs + tcpSlowStartMs(bytes, roundTripMs, bytes / Math.max(0.001, movingMs));
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
  readonly nowMs: number;
}

/** Waits of a request before a first run, as the planner reads them. */
export function firstWaits(parts: FirstWaitParts): FirstWaits {
  const { known, warmth, endpoints, localId, bytes, nowMs } = parts;
  const { name: model, version, digest } = known.description;
  const connects = new Map<EndpointId, number>();
  return {
    loadMs(id = localId, part) {
      if (id === undefined) return 0;
      const segment: Segment = { model, version, digest, ...part };
      return warmth.waitMs(id, segment, id === localId ? undefined : offerFor(known, id, segment));
    },
    connectMs(id) {
      const before = connects.get(id);
      if (before !== undefined) return before;
      const state = endpoints.get(id);
      const waitMs = state ? connectMs(state, bytes, nowMs) : 0;
      connects.set(id, waitMs);
      return waitMs;
    },
  };
}

/** The offer of an endpoint for a segment, if it says that the segment is to be loaded first. */
function offerFor({ offersBy }: KnownModel, id: EndpointId, segment: Segment): Offer | undefined {
  const offers = offersBy.get(id);
  if (!offers?.some(({ loadMs = 0 }) => loadMs > 0)) return undefined;
  const key = segmentKey(segment);
  return offers.find((offer) => offer.loadMs !== undefined && segmentKey(offer.segment) === key);
}
