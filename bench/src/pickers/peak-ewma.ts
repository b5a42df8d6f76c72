import { inFlightCounts, type PickerKind, twoOf } from "./picker.ts";

/** Linkerd's default: the first guess of a latency, in milliseconds. */
const defaultRttMs = 30;
/** Linkerd's default: the decay time of the average, in milliseconds. */
const decayMs = 10_000;

/**
 * Peak EWMA (Finagle, linkerd): of two drawn servers the one with the smaller moving time times requests under way. A slower
 * answer counts at once, a faster one in the course of ten seconds.
 */
export const peakEwma: PickerKind = ({ endpoints, random, nowMs }) => {
  const counts = inFlightCounts(endpoints.length);
  const times = endpoints.map(() => ({ ms: defaultRttMs, atMs: nowMs() }));
  const cost = (index: number): number => (times[index]?.ms ?? 0) * ((counts.of[index] ?? 0) + 1);
  return {
    name: "peak EWMA (P2C)",
    pick() {
      const [one, other] = twoOf(endpoints.length, random);
      return cost(other) < cost(one) ? other : one;
    },
    sent: counts.sent,
    answered(index, tookMs) {
      counts.answered(index);
      const time = times[index];
      if (!time) return;
      const kept = Math.exp(-(nowMs() - time.atMs) / decayMs);
      time.ms = tookMs > time.ms ? tookMs : tookMs + kept * (time.ms - tookMs);
      time.atMs = nowMs();
    },
  };
};
