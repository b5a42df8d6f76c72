/** Deadlines: how often an answer is later than a multiple of the run here, beside what the oracle could not keep either. */
import type { LinkBeliefOptions } from "@longshore/core/internal";
import { allLocal } from "./fixed-endpoints.ts";
import { oracle } from "./oracle.ts";
import { ours } from "./ours.ts";
import { replay, type ReplayResult, type ReplaySetting } from "./replay.ts";

/** What our policy made of one deadline in one setting. */
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

/** Share of answers that took longer than `deadlineMs`. */
export function missRatio(result: ReplayResult, deadlineMs: number): number {
  let missed = 0;
  for (const took of result.tookMs) if (took > deadlineMs) missed += 1;
  return missed / Math.max(1, result.tookMs.length);
}

/** Our policy with the deadline as what is late, in one setting; undefined where offloading cannot pay. */
export function deadlineRow(
  setting: ReplaySetting,
  deadlineRatio: number,
  link: LinkBeliefOptions,
): DeadlineRow | undefined {
  const { trace, requestBytes, localMs, roundTripMs } = setting;
  const best = replay(setting, oracle());
  if (best.meanMs >= 0.997 * replay(setting, allLocal()).meanMs) return undefined;
  const own = replay(setting, ours({ link, deadlineRatio }));
  const deadlineMs = deadlineRatio * localMs;
  return {
    trace: trace.name,
    requestBytes,
    localMs,
    roundTripMs,
    deadlineRatio,
    missRatio: missRatio(own, deadlineMs),
    oracleMissRatio: missRatio(best, deadlineMs),
    meanVsOracle: own.meanMs / best.meanMs,
  };
}
