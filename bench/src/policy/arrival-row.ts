/**
 * One way to decide on one uplink under one kind of arrivals, beside the oracles, staying here, and the bound for any policy.
 */
import { allLocal } from "./fixed-endpoints.ts";
import { lowerBound } from "./compare.ts";
import { oracle, pricedOracle } from "./oracle.ts";
import { replay, type ReplayResult, type ReplaySetting } from "./replay.ts";

/** The figures of a row. */
export interface ArrivalRow {
  readonly trace: string;
  readonly arrivals: string;
  readonly requestBytes: number;
  readonly localMs: number;
  readonly roundTripMs: number;
  readonly requests: number;
  readonly meanMs: number;
  /** Over the better of the greedy oracle and the one that pays for the device. */
  readonly meanVsOracle: number;
  readonly oracleVsLocal: number;
  /** Of each request as if it were alone in the world, over the oracle. */
  readonly lowerBoundVsOracle: number;
  readonly meanVsLocal: number;
  /** Over the p99 of staying here on the same arrivals. */
  readonly p99VsLocal: number;
  /** The longest answer less the longest of staying here, in runs here. */
  readonly beyondLocal: number;
  readonly secondRunRatio: number;
  readonly inVainRatio: number;
  readonly remoteRatio: number;
  readonly probeRatio: number;
  /** Whether offloading can pay here at all: the oracle's mean is below 0.997 of staying here. */
  readonly scored: boolean;
}

/** Scores what was replayed under `setting`. */
export function arrivalRow(setting: ReplaySetting, arrivals: string, own: ReplayResult): ArrivalRow {
  const local = replay(setting, allLocal());
  const [greedy, priced] = [replay(setting, oracle()), replay(setting, pricedOracle())];
  const bestMs = Math.min(greedy.meanMs, priced.meanMs);
  const most = ({ tookMs }: ReplayResult): number => tookMs.reduce((max, one) => Math.max(max, one), 0);
  const { trace, requestBytes, localMs, roundTripMs } = setting;
  return {
    trace: trace.name,
    arrivals,
    requestBytes,
    localMs,
    roundTripMs,
    requests: own.tookMs.length,
    meanMs: own.meanMs,
    meanVsOracle: own.meanMs / bestMs,
    oracleVsLocal: bestMs / local.meanMs,
    lowerBoundVsOracle: lowerBound(setting, local).meanMs / bestMs,
    meanVsLocal: own.meanMs / local.meanMs,
    p99VsLocal: own.p99Ms / local.p99Ms,
    beyondLocal: (most(own) - most(local)) / localMs,
    secondRunRatio: own.extraRatio,
    inVainRatio: own.inVainRatio,
    remoteRatio: own.remoteRatio,
    probeRatio: own.probeRatio,
    scored: bestMs < 0.997 * local.meanMs,
  };
}
