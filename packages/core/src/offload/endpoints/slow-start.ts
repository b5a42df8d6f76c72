/** Time after which a new or recovered endpoint takes its full share, in milliseconds. */
const windowMs = 10_000;
/** The least share it starts with. */
const leastRatio = 0.1;

/**
 * The slow start of a new endpoint, whose caches are cold and whose promises are untried. It may get one request at once. Each further
 * request under way there is charged as several; the factor falls with time.
 */
export interface SlowStart {
  /** The endpoint joined, or returned. */
  begin(nowMs: number): void;
  /** Wait to charge besides the believed queue, with this many requests of ours under way. */
  chargeMs(underWay: number, serviceMs: number, nowMs: number): number;
}

/** Starts with an endpoint that takes its full share. */
export function slowStart(): SlowStart {
  return new ShareSince();
}

class ShareSince implements SlowStart {
  #sinceMs = -Infinity;

  begin(nowMs: number): void {
    this.#sinceMs = nowMs;
  }

  chargeMs(underWay: number, serviceMs: number, nowMs: number): number {
    const passedMs = nowMs - this.#sinceMs;
    if (underWay === 0 || passedMs >= windowMs) return 0;
    const ratio = Math.max(leastRatio, passedMs / windowMs);
    return underWay * serviceMs * (1 / ratio - 1);
  }
}
