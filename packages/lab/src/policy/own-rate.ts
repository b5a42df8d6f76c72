/** The smoothed rate that a client can know: what of its own bytes, probes included, was acknowledged while the link had work. */
import { packetBytes } from "../trace/index.ts";
import type { ReplayPolicy } from "./policy.ts";
import { smoothing } from "./rate-plugs.ts";

/** Follows the notes of a replay. */
export interface OwnRate {
  /** Packets per millisecond at `nowMs`; Infinity before the first second with work is over. */
  at(nowMs: number): number;
  readonly notes: Required<Pick<ReplayPolicy, "sent" | "acknowledged" | "sendEnded">>;
}

/** A second in which neither a packet came nor so much work was waited for says nothing yet: the next one goes on with it. */
const leastWorkMs = 100;
const secondMs = 1000;

/**
 * Smoothed over whole seconds like the rate of the line (`rate-plugs.ts`). A second's rate is its packets over the time in
 * which acknowledgements were due: from a round trip after a send until its last one. Seconds without sends teach nothing.
 */
export function ownRate(roundTripMs: number): OwnRate {
  const open = new Map<number, { readonly dueFromMs: number; packets: number }>();
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
      if (toMs === secondEndMs && (packets >= 1 || workMs >= leastWorkMs)) endSecond();
    }
  }

  function endSecond(): void {
    const seen = packets / Math.max(workMs, 1e-3);
    rate = rate === Infinity ? seen : rate + smoothing * (seen - rate);
    workMs = 0;
    packets = 0;
  }

  return {
    at(nowMs) {
      advance(nowMs);
      return rate;
    },
    notes: {
      sent(id, _bytes, nowMs) {
        advance(nowMs);
        open.set(id, { dueFromMs: nowMs + roundTripMs, packets: 0 });
      },
      acknowledged(id, totalBytes, nowMs) {
        advance(nowMs);
        const one = open.get(id);
        if (!one) return;
        const total = totalBytes / packetBytes;
        packets += total - one.packets;
        one.packets = total;
      },
      sendEnded(id, _complete, nowMs) {
        advance(nowMs);
        open.delete(id);
      },
    },
  };
}
