/** Rations probes: they may take a share of what a link is believed to carry; what was not used is kept for a while. */
export interface ProbeBudget {
  /** Whole packets that may be sent now on a link that is believed to carry `packetsPerMs`. */
  affordable(nowMs: number, packetsPerMs: number): number;
  /** So many were sent. */
  spend(packets: number): void;
}

/** Time for which an unused share is kept, in milliseconds. */
const keptMs = 10_000;
/** Packets that are kept however slow the link is. */
const leastKept = 2;

/** An empty budget: its first packets have to be waited for. */
export function probeBudget(shareRatio: number): ProbeBudget {
  let packets = 0;
  let countedMs = NaN;
  return {
    affordable(nowMs, packetsPerMs) {
      if (Number.isNaN(countedMs)) countedMs = nowMs;
      const sharePerMs = packetsPerMs * shareRatio;
      const gained = Math.max(0, nowMs - countedMs) * sharePerMs;
      packets = Math.min(Math.max(leastKept, keptMs * sharePerMs), packets + gained);
      countedMs = Math.max(countedMs, nowMs);
      return Math.floor(packets);
    },
    spend(count) {
      packets -= count;
    },
  };
}
