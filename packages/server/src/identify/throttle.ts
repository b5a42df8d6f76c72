import { type Clock, LongshoreError } from "@longshore/core";
import { dropOldest } from "@longshore/core/internal";

/** Counts failed credentials by source, and refuses a source for a while after too many. */
export interface Throttle {
  /** Throws `rejected`, with the time to wait, while a source has failed too often. */
  check(source: string): void;
  failed(source: string): void;
}

/** Sources that are remembered; the one that failed least recently goes first. */
const maxSources = 10_000;

/**
 * A bucket of failures for each source: `perMinute` at once, and as many again in each minute. A source that never fails
 * takes no memory.
 */
export function createThrottle(clock: Clock, perMinute: number): Throttle {
  const buckets = new Map<string, { left: number; atMs: number }>();
  const perMs = perMinute / 60_000;
  const leftOf = (
    bucket: { readonly left: number; readonly atMs: number } | undefined,
    nowMs: number,
  ): number => (bucket ? Math.min(perMinute, bucket.left + (nowMs - bucket.atMs) * perMs) : perMinute);
  return {
    check(source) {
      const bucket = buckets.get(source);
      if (!bucket) return;
      const left = leftOf(bucket, clock.nowMs());
      if (left >= 1) return;
      throw new LongshoreError(
        "rejected",
        "identify",
        "too many credentials from this source were not valid; wait before trying again",
        { retryAfterMs: Math.ceil((1 - left) / perMs) },
      );
    },
    failed(source) {
      const nowMs = clock.nowMs();
      const left = Math.max(0, leftOf(buckets.get(source), nowMs) - 1);
      buckets.delete(source);
      buckets.set(source, { left, atMs: nowMs });
      dropOldest(buckets, maxSources);
    },
  };
}
