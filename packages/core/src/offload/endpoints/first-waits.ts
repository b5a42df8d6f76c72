import type { EndpointId } from "../../words/base/index.ts";
import { type Segment, segmentKey } from "../../words/model/index.ts";
import type { Offer } from "../../wire/endpoint/index.ts";
import { tcpSlowStartMs } from "../../decide/estimate/index.ts";
import type { ConnectionWaits, FirstWaits, Part } from "../../decide/plan/index.ts";
import { readBetween, readingOf, sizeCount, sizePosition } from "../../decide/table/index.ts";
import type { KnownModel } from "../models/index.ts";
import type { EndpointState } from "./endpoint-state.ts";
import type { Warmth } from "./warmth.ts";

/** Reads the usual time of a transfer. */
const usually = readingOf(0.5);

/** An open connection that was used lately. */
const noWaits: ConnectionWaits = { connectMs: 0, slowStartMs: 0 };

/**
 * Expected time until a request of so many bytes gets through on a connection that is still to be made, beyond its time on an open one: what
 * earlier connections took or the round trips of making one, and the rounds in which TCP finds out how much it may send. Or how much longer
 * it takes on an open connection because that has sent nothing for a while. The belief about the link already
 * includes bodies after such pauses, so the rounds count less the more of its last bodies were of that kind.
 */
function connectionWaits(
  state: EndpointState,
  bytes: number,
  nowMs: number,
  stream: boolean,
): ConnectionWaits {
  const connecting = state.endpoint.capabilities.connecting?.(stream);
  if (!connecting) return noWaits;
  const { roundTrips, tookMs, idleMs } = connecting;
  if (roundTrips > 0) {
    const madeMs = tookMs ?? roundTrips * usualTripMs(state, nowMs);
    return { connectMs: madeMs + windowMs(state, bytes, nowMs, Infinity), slowStartMs: 0 };
  }
  if (idleMs === undefined) return noWaits;
  const slowStartMs = (1 - state.link.restartedRatio) * windowMs(state, bytes, nowMs, idleMs);
  return { connectMs: 0, slowStartMs };
}

/** Records for `connectionWaits` on which kind of connection a request is sent now. */
export function noteConnection(state: EndpointState, bytes: number, nowMs: number, stream = false): void {
  const connecting = state.endpoint.capabilities.connecting;
  if (!connecting) return;
  const waits = connecting(stream);
  // On an open connection that was used lately, the window of TCP is open, too.
  const idleMs = waits && waits.roundTrips > 0 ? Infinity : waits?.idleMs;
  state.link.began(idleMs !== undefined && windowMs(state, bytes, nowMs, idleMs) > 0);
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
  return new WaitsOfRequest(parts);
}

/** A class for the same reason as `Once`: every plan has one. */
class WaitsOfRequest implements FirstWaits {
  readonly #parts: FirstWaitParts;
  /** The waits for connections to be made or long unused, which take long to compute, by endpoint. */
  #connections: Map<EndpointId, ConnectionWaits> | undefined;

  constructor(parts: FirstWaitParts) {
    this.#parts = parts;
  }

  loadMs(endpoint: EndpointId | undefined, { variant, from, to }: Part): number {
    const { known, warmth, localId } = this.#parts;
    const id = endpoint ?? localId;
    if (id === undefined || (id !== localId && !loadsFirst(known, id))) return 0;
    const { name: model, version, digest } = known.description;
    const segment: Segment = { model, version, digest, variant, from, to };
    return warmth.waitMs(id, segment, id === localId ? undefined : offerFor(known, id, segment));
  }

  connection(id: EndpointId): ConnectionWaits {
    const before = this.#connections?.get(id);
    if (before) return before;
    const { endpoints, bytes, nowMs, stream } = this.#parts;
    const state = endpoints.get(id);
    const waits = state ? connectionWaits(state, bytes, nowMs, stream) : noWaits;
    if (waits !== noWaits) (this.#connections ??= new Map<EndpointId, ConnectionWaits>()).set(id, waits);
    return waits;
  }
}

/** Whether an endpoint says of some offer that it is to be loaded first. */
function loadsFirst({ offersBy }: KnownModel, id: EndpointId): boolean {
  for (const { loadMs = 0 } of offersBy.get(id) ?? []) if (loadMs > 0) return true;
  return false;
}

/** The offer of an endpoint for a segment, with the time to load it. */
function offerFor({ offersBy }: KnownModel, id: EndpointId, segment: Segment): Offer | undefined {
  const key = segmentKey(segment);
  return offersBy.get(id)?.find((offer) => offer.loadMs !== undefined && segmentKey(offer.segment) === key);
}
