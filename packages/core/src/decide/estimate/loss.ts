/**
 * The one objective of decisions without a deadline: how bad an answer is after a given time.
 *
 * An answer costs its time. Each millisecond beyond the time of a run here costs `lateWeight` more. Lateness harms the user compared with
 * never offloading, and users feel a lost second more than a gained one. The price is a slope and not a step: it distinguishes 1.4 from 17
 * runs late, and it never avoids a sure small delay by an unknown large one. docs/explanation/loss.md argues the two constants.
 */
export interface LossOptions {
  /** Price of a millisecond of lateness, in milliseconds; default 5. */
  readonly lateWeight?: number;
  /** Time beyond staying here that does not count as late, in runs here; default 0.1. */
  readonly toleranceRatio?: number;
}

/** How one request's lateness is priced. */
export interface Loss {
  /** From its arrival. A longer time is late. */
  readonly lateAfterMs: number;
  readonly lateWeight: number;
}

/** The loss for a request that would be answered here `stayMs` after its arrival, including a run of `runMs`. */
export function lossFor(stayMs: number, runMs: number, options: LossOptions = {}): Loss {
  const { lateWeight = 5, toleranceRatio = 0.1 } = options;
  return { lateAfterMs: stayMs + toleranceRatio * runMs, lateWeight };
}

/** The loss of an answer `tookMs` after the arrival of its request, in milliseconds. */
export function lossOf({ lateAfterMs, lateWeight }: Loss, tookMs: number): number {
  return tookMs > lateAfterMs ? tookMs + lateWeight * (tookMs - lateAfterMs) : tookMs;
}
