/**
 * The smoothed rate that a client can know: the rate of acknowledgements of its own bytes, probes included, while the link had
 * work.
 */
import { packetBytes } from "@longshore/lab";
import type { ReplayPolicy } from "./policy.ts";
import { smoothed } from "./rate-plugs.ts";

/** Follows the notes of a replay. */
export interface OwnRate {
  /** Packets per millisecond at `nowMs`; Infinity before anything was waited for. */
  at(nowMs: number): number;
  /** Bytes that were sent and are neither acknowledged nor given up. */
  unacknowledgedBytes(): number;
  readonly notes: Required<Pick<ReplayPolicy, "sent" | "acknowledged" | "sendEnded">>;
}

/** A second without packets and with less work than this says nothing. It is joined to the next. */
const leastWorkMs = 100;
/** Milliseconds in a second. */
const secondMs = 1000;

/**
 * Smoothed over whole seconds and the part of the one under way, like the rate of the line (`rate-plugs.ts`). A second's
 * rate is its packets over the time in which acknowledgements were due: from a round trip after a send until its last one.
 * Seconds without sends teach nothing.
 */
export function ownRate(roundTripMs: number): OwnRate {
  const open = new Map<
    number,
    { readonly dueFromMs: number; readonly bytes: number; acknowledged: number }
  >();
  let rate = Infinity;
  let markMs = 0;
  let workMs = 0;
  let packets = 0;

  function advance(nowMs: number): void {
    let dueFromMs = Infinity;
    for (const one of open.values()) dueFromMs = Math.min(dueFromMs, one.dueFromMs);
    while (markMs < nowMs) {
      const secondEndMs = (Math.floor(markMs / secondMs) + 1) * secondMs;
      const toMs = Math.min(nowMs, secondEndMs);
      workMs += Math.max(0, toMs - Math.max(markMs, dueFromMs));
      markMs = toMs;
      if (toMs === secondEndMs && saysMuch()) {
        rate = rateAfter(secondMs);
        workMs = 0;
        packets = 0;
      }
    }
  }

  const saysMuch = (): boolean => packets >= 1 || workMs >= leastWorkMs;

  function rateAfter(spanMs: number): number {
    if (!saysMuch()) return rate;
    const seen = packets / Math.max(workMs, 1e-3);
    return rate === Infinity ? seen : smoothed(rate, seen, spanMs);
  }

  return {
    at(nowMs) {
      advance(nowMs);
      return rateAfter(markMs % secondMs);
    },
    unacknowledgedBytes() {
      let bytes = 0;
      for (const one of open.values()) bytes += one.bytes - one.acknowledged;
      return bytes;
    },
    notes: {
      sent(id, bytes, nowMs) {
        advance(nowMs);
        open.set(id, { dueFromMs: nowMs + roundTripMs, bytes, acknowledged: 0 });
      },
      acknowledged(id, totalBytes, nowMs) {
        advance(nowMs);
        const one = open.get(id);
        if (!one) return;
        packets += (totalBytes - one.acknowledged) / packetBytes;
        one.acknowledged = totalBytes;
      },
      sendEnded(id, _complete, nowMs) {
        advance(nowMs);
        open.delete(id);
      },
    },
  };
}
