/**
 * The one objective of decisions without a deadline: how bad an answer is that takes so long.
 *
 * An answer costs its time. One that comes later than a run here would have given costs `lateWeight` more for each further
 * millisecond: it harms its user compared with never offloading, and users feel a lost second more than a gained one. The price
 * is a slope and no step, so 1.4 and 17 runs late are told apart, and a sure small delay is never avoided by an unknown large one.
 * docs/explanation/loss.md argues the two constants.
 */
export interface LossOptions {
  /** Price of a millisecond of lateness, in milliseconds; default 5. */
  readonly lateWeight?: number;
  /** What an answer may be later than staying here without being late, in runs here; default 0.1. */
  readonly toleranceRatio?: number;
}

/** How late is told for one request. */
export interface Loss {
  /** From its arrival: what takes longer is late. */
  readonly lateAfterMs: number;
  readonly lateWeight: number;
}

/** The loss of a request that would be answered here in `stayMs` from its arrival, a run of `runMs` included. */
export function lossFor(stayMs: number, runMs: number, options: LossOptions = {}): Loss {
  const { lateWeight = 5, toleranceRatio = 0.1 } = options;
  return { lateAfterMs: stayMs + toleranceRatio * runMs, lateWeight };
}

/** The loss of an answer that takes `tookMs` from the arrival of its request, in milliseconds. */
export function lossOf({ lateAfterMs, lateWeight }: Loss, tookMs: number): number {
  return tookMs > lateAfterMs ? tookMs + lateWeight * (tookMs - lateAfterMs) : tookMs;
}
