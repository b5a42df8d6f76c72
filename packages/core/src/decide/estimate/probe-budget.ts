/** Rations probes: they may take a share of the believed capacity of a link. An unused share is kept for a while. */
export interface ProbeBudget {
  /** Whole packets that may be sent now on a link that carries `packetsPerMs`. */
  affordable(nowMs: number, packetsPerMs: number): number;
  /** Records sent packets. */
  spend(packets: number): void;
}

/** Time for which an unused share is kept, in milliseconds. */
const keptMs = 10_000;
/** Minimum of packets that are saved up, however slow the link is. */
const leastKept = 2;

/** Starts empty: the first packets have to be saved up. */
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
