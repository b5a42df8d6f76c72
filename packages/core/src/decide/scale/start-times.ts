/** Learns how long an endpoint takes from being needed to being ready. */
export interface StartTimes {
  /** Records at each decision how many endpoints are needed and how many are ready. */
  seen(needed: number, ready: number, nowMs: number): void;
  /** The time that is planned for, in milliseconds: the stated one until starts were seen, then their upper quartile. */
  readonly ms: number;
}

/** Starts that are remembered. */
const remembered = 16;
/** A start that takes longer than this many times what was stated has failed, and says nothing. */
const failedRatio = 20;

/** `statedMs` is used before the first start was seen. */
export function startTimes(statedMs: number): StartTimes {
  const taken: number[] = [];
  /** When each endpoint beyond the ready ones was first needed, the oldest first. */
  const awaited: number[] = [];
  let before: number | undefined;
  return {
    seen(needed, ready, nowMs) {
      const came = before === undefined ? 0 : ready - before;
      before = ready;
      for (let one = 0; one < came; one++) {
        const since = awaited.shift();
        if (since === undefined) break;
        const ms = nowMs - since;
        if (ms > 0 && ms <= failedRatio * statedMs) taken.push(ms);
        if (taken.length > remembered) taken.shift();
      }
      const missing = Math.max(0, needed - ready);
      awaited.length = Math.min(awaited.length, missing);
      while (awaited.length < missing) awaited.push(nowMs);
    },
    get ms() {
      if (taken.length === 0) return statedMs;
      const sorted = [...taken].sort((a, b) => a - b);
      return sorted[Math.floor(0.75 * (sorted.length - 1))] ?? statedMs;
    },
  };
}
