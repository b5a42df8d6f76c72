/** Policies side by side on one setting, scored against the oracle, against staying local and against the best fixed endpoint. */
import type { ReplayPolicy } from "./policy.ts";
import { uploadMs } from "@longshore/lab";
import { allLocal, allRemote } from "./fixed-endpoints.ts";
import { oracle } from "./oracle.ts";
import {
  arrivalsOf,
  replay,
  type ReplayResult,
  type ReplaySetting,
  replyAfterMs,
  resultOf,
} from "./replay.ts";

/** The result of one policy in one setting. */
export interface PolicyRow {
  readonly trace: string;
  readonly requestBytes: number;
  readonly localMs: number;
  readonly roundTripMs: number;
  readonly policy: string;
  readonly meanMs: number;
  readonly p99Ms: number;
  readonly meanVsOracle: number;
  readonly meanVsLocal: number;
  readonly p99VsLocal: number;
  readonly extraRatio: number;
  readonly inVainRatio: number;
  readonly remoteRatio: number;
  readonly probeRatio: number;
  /** Whether offloading can pay here at all: the oracle's mean is below 0.997 of staying local. */
  readonly scored: boolean;
}

/** Replays all of `policies`, and beside them all local, all remote, the better of the two in hindsight, `others`, and the oracle. */
export function comparePolicies(
  setting: ReplaySetting,
  policies: readonly (() => ReplayPolicy)[],
  others: readonly ReplayResult[] = [],
): readonly PolicyRow[] {
  const local = replay(setting, allLocal());
  const remote = replay(setting, allRemote());
  const best = replay(setting, oracle());
  const fixed: ReplayResult = { ...(remote.meanMs < local.meanMs ? remote : local), policy: "best fixed" };
  const scored = best.meanMs < 0.997 * local.meanMs;
  const bound = lowerBound(setting, local);
  const replayed = policies.map((make) => replay(setting, make()));
  return [local, remote, fixed, ...replayed, ...others, best, bound].map((result) => ({
    trace: setting.trace.name,
    requestBytes: setting.requestBytes,
    localMs: setting.localMs,
    roundTripMs: setting.roundTripMs,
    policy: result.policy,
    meanMs: result.meanMs,
    p99Ms: result.p99Ms,
    meanVsOracle: result.meanMs / best.meanMs,
    meanVsLocal: result.meanMs / local.meanMs,
    p99VsLocal: result.p99Ms / local.p99Ms,
    extraRatio: result.extraRatio,
    inVainRatio: result.inVainRatio,
    remoteRatio: result.remoteRatio,
    probeRatio: result.probeRatio,
    scored,
  }));
}

/** Each request as if it were alone in the world: the better of the run here and its upload on an empty link. No policy can reach it. */
export function lowerBound(setting: ReplaySetting, local: ReplayResult): ReplayResult {
  const { trace, requestBytes, localMs } = setting;
  const arrivedMs = arrivalsOf(setting);
  const tookMs = local.tookMs.map((_, index) => {
    const atMs = arrivedMs[index] ?? 0;
    const upMs = uploadMs(trace, atMs, requestBytes);
    return Math.min(localMs, upMs + replyAfterMs(setting, atMs + upMs));
  });
  return resultOf("lower bound", tookMs, { extraRatio: 0, inVainRatio: 0, remoteRatio: 0, probeRatio: 0 });
}

/** The worst and the average of one policy over many rows. */
export interface PolicyScore {
  readonly policy: string;
  readonly rows: number;
  readonly worstMeanVsOracle: number;
  readonly averageMeanVsOracle: number;
  readonly worstP99VsLocal: number;
  readonly worstMeanVsLocal: number;
  readonly worstExtraRatio: number;
  /** Over all rows: a probe costs the same where offloading cannot pay. */
  readonly worstProbeRatio: number;
  /** Over the rows where offloading cannot pay: the worst mean over staying local. */
  readonly worstHarmRatio: number;
}

/** Scores each policy over its scored rows, and over the others for harm only. In the order of first appearance. */
export function scorePolicies(rows: readonly PolicyRow[]): readonly PolicyScore[] {
  const names = [...new Set(rows.map(({ policy }) => policy))];
  return names.map((policy) => {
    const own = rows.filter((row) => row.policy === policy);
    const scored = own.filter((row) => row.scored);
    const worst = (list: readonly PolicyRow[], pick: (row: PolicyRow) => number): number =>
      list.reduce((most, row) => Math.max(most, pick(row)), 0);
    return {
      policy,
      rows: scored.length,
      worstMeanVsOracle: worst(scored, (row) => row.meanVsOracle),
      averageMeanVsOracle:
        scored.reduce((sum, row) => sum + row.meanVsOracle, 0) / Math.max(1, scored.length),
      worstP99VsLocal: worst(scored, (row) => row.p99VsLocal),
      worstMeanVsLocal: worst(scored, (row) => row.meanVsLocal),
      worstExtraRatio: worst(scored, (row) => row.extraRatio),
      worstProbeRatio: worst(own, (row) => row.probeRatio),
      worstHarmRatio: worst(
        own.filter((row) => !row.scored),
        (row) => row.meanVsLocal,
      ),
    };
  });
}
