/** Deadlines: how often an answer is later than a multiple of the run here, beside what the oracle could not keep either. */
import { oracle } from "./oracle.ts";
import { replay, type ReplayResult, type ReplaySetting } from "./replay.ts";

/** The result of a way to decide, for one deadline in one setting. */
export interface DeadlineRow {
  readonly trace: string;
  readonly requestBytes: number;
  readonly localMs: number;
  readonly roundTripMs: number;
  /** The deadline, in runs here. */
  readonly deadlineRatio: number;
  readonly missRatio: number;
  readonly oracleMissRatio: number;
  readonly meanVsOracle: number;
}

/**
 * An answer that comes just as the deadline passes is in time by the rules, and packets of traces pass at whole milliseconds. By the
 * rules its way back takes nothing; here a packet of it takes a hundredth of a millisecond.
 */
export const justInTimeMs = 0.02;

/** Share of answers that took longer than `deadlineMs`. */
export function missRatio(result: ReplayResult, deadlineMs: number): number {
  let missed = 0;
  for (const took of result.tookMs) if (took > deadlineMs) missed += 1;
  return missed / Math.max(1, result.tookMs.length);
}

/** The result of `own` for a deadline in one setting; a request that it gave up counts as taking until then. */
export function deadlineRow(setting: ReplaySetting, deadlineRatio: number, own: ReplayResult): DeadlineRow {
  const { trace, requestBytes, localMs, roundTripMs } = setting;
  const best = replay(setting, oracle());
  const deadlineMs = deadlineRatio * localMs + justInTimeMs;
  const untilMs = own.tookMs.map((took) => Math.min(took, deadlineMs));
  const meanMs = untilMs.reduce((sum, one) => sum + one, 0) / untilMs.length;
  return {
    trace: trace.name,
    requestBytes,
    localMs,
    roundTripMs,
    deadlineRatio,
    missRatio: missRatio(own, deadlineMs),
    oracleMissRatio: missRatio(best, deadlineMs),
    meanVsOracle: meanMs / best.meanMs,
  };
}
