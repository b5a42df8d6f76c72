/** Time after which a new or recovered endpoint takes its full share, in milliseconds. */
const windowMs = 10_000;
/** The least share it starts with. */
const leastRatio = 0.1;

/**
 * How an endpoint that has just come is approached: its caches are cold and its promises untried. It may have a request at
 * once, and is charged for each further one under way there as if it were several, fewer and fewer as time passes.
 */
export interface SlowStart {
  /** It came, or came back. */
  begin(nowMs: number): void;
  /** Wait to charge besides the believed queue, with this many requests of ours under way. */
  chargeMs(underWay: number, serviceMs: number, nowMs: number): number;
}

/** Starts with an endpoint that has always been there. */
export function slowStart(): SlowStart {
  let sinceMs = -Infinity;
  return {
    begin(nowMs) {
      sinceMs = nowMs;
    },
    chargeMs(underWay, serviceMs, nowMs) {
      if (underWay === 0 || nowMs - sinceMs >= windowMs) return 0;
      const ratio = Math.max(leastRatio, (nowMs - sinceMs) / windowMs);
      return underWay * serviceMs * (1 / ratio - 1);
    },
  };
}
