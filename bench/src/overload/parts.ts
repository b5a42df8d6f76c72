import { poissonArrivals } from "@longshore/lab";
import { mean, quantile, type Row } from "../harness.ts";
import type { PhaseResult, Stream } from "../load/messages.ts";
import { type ThreadTimes, watchThreads } from "../load/thread-times.ts";
import { leastP99Ratio } from "./strict-priority.ts";
import {
  answered,
  deadlineMs,
  good,
  type OverloadSubject,
  refusals,
  rowOf,
  stream,
  wayBackMs,
} from "./phase.ts";

/**
 * The deadline of tenants beside each other: long enough that the light one is hardly ever refused, and its times are whole.
 */
const patientMs = 600;

/** A senders' tenant, with the default identity: one that a proxy passed on counts as a stranger. */
const strangers = { via: "1.1 proxy" };
/** Asks for the times of the stages, which cost next to nothing and tell a long run from a long wait. */
const timed = { "longshore-account": "timing" };

/** Seconds after a burst until a second's goodput is again what it was before. */
export async function recovery(
  subject: OverloadSubject,
  perSecond: number,
  seed: number,
  say: (row: Row) => void,
): Promise<number> {
  const calm = 0.7 * perSecond;
  const before = poissonArrivals(calm, Math.ceil(calm * 4), seed).filter((atMs) => atMs < 2000);
  const burst = poissonArrivals(5 * perSecond, Math.ceil(60 * perSecond), seed + 1)
    .map((atMs) => 2000 + atMs)
    .filter((atMs) => atMs < 12_000);
  const after = poissonArrivals(calm, Math.ceil(calm * 12), seed + 2)
    .map((atMs) => 12_000 + atMs)
    .filter((atMs) => atMs < 22_000);
  const base = stream(subject, "burst", 1, 1, seed);
  const result = await subject.generator.run(subject.server.port, [
    { ...base, arrivals: [...before, ...burst, ...after] },
  ]);
  const [one] = result.streams;
  if (!one) return Infinity;
  say(
    rowOf(
      { name: "burst 5x", result, loop: await subject.server.loopDelay(), goodPerSecond: good(one) / 22 },
      0,
    ),
  );
  const first = before.length + burst.length;
  for (let second = 0; second < 10; second++) {
    const inside = after.flatMap((atMs, index) =>
      atMs >= 12_000 + second * 1000 && atMs < 13_000 + second * 1000 ? [first + index] : [],
    );
    const kept = inside.filter(
      (index) => one.statuses[index] === 200 && (one.latencyMs[index] ?? Infinity) <= deadlineMs,
    );
    if (kept.length >= 0.95 * inside.length) return second + 1;
  }
  return Infinity;
}

/** 99th percentiles of a light tenant alone, and beside one that sends ten times as much. */
export async function tenants(
  subject: OverloadSubject,
  perSecond: number,
  seconds: number,
  seed: number,
): Promise<{
  readonly soloMs: number;
  readonly besideMs: number;
  /** The least that their ratio could be with such runs. */
  readonly leastRatio: number;
  readonly row: Row;
  /** The same for people. */
  readonly told: string;
}> {
  const light = 0.4 * perSecond;
  const own = stream(subject, "light", light, seconds, seed, timed, patientMs);
  const heavy = stream(subject, "heavy", 10 * light, seconds, seed + 1, strangers, patientMs);
  const phase = async (...streams: readonly Stream[]): Promise<PhaseResult & { threads?: ThreadTimes }> => {
    const watched = watchThreads(subject.server.pid);
    const result = await subject.generator.run(subject.server.port, streams);
    const threads = watched();
    return threads ? { ...result, threads } : result;
  };
  const alone = await phase(own);
  await subject.server.loopDelay();
  const beside = await phase(own, heavy);
  const loop = await subject.server.loopDelay();
  // A request without an answer took at least as long as it was allowed to.
  const times = (result: PhaseResult): readonly number[] =>
    (result.streams[0]?.statuses ?? []).map((status, index) =>
      status === 200 ? (result.streams[0]?.latencyMs[index] ?? NaN) : patientMs,
    );
  const runs = (result: PhaseResult): readonly number[] =>
    (result.streams[0]?.runMs ?? []).flatMap((ms) => (ms === null ? [] : [ms]));
  const [soloMs, besideMs] = [quantile(times(alone), 0.99), quantile(times(beside), 0.99)];
  const answeredRatio = (beside.streams[0] ? answered(beside.streams[0]).length : 0) / own.arrivals.length;
  // A request refused at admission cost the heavy tenant nothing; one admitted and not done cost its wait.
  const [, other] = beside.streams;
  const done = other ? answered(other).length : 0;
  const notDone = other?.statuses.filter((status) => status === 1).length ?? 0;
  const notDoneRatio = notDone / Math.max(1, done + notDone);
  const leastRatio = leastP99Ratio(own.arrivals, runs(alone), runs(beside), seed);
  return {
    soloMs,
    besideMs,
    leastRatio,
    row: {
      phase: "tenants",
      soloP99Ms: soloMs,
      besideP99Ms: besideMs,
      leastRatio,
      soloP50Ms: quantile(times(alone), 0.5),
      besideP50Ms: quantile(times(beside), 0.5),
      soloRunP50Ms: quantile(runs(alone), 0.5),
      besideRunP50Ms: quantile(runs(beside), 0.5),
      soloRunP99Ms: quantile(runs(alone), 0.99),
      besideRunP99Ms: quantile(runs(beside), 0.99),
      soloMeanRunMs: mean(runs(alone)),
      besideMeanRunMs: mean(runs(beside)),
      soloWorkerWaitRatio: alone.threads?.workerWaitRatio ?? null,
      besideWorkerWaitRatio: beside.threads?.workerWaitRatio ?? null,
      besideWorkerRatio: beside.threads?.workerRatio ?? null,
      besideMainRatio: beside.threads?.mainRatio ?? null,
      answeredRatio,
      heavyGoodPerSecond: done / seconds,
      heavyTakenNotDoneRatio: notDoneRatio,
      generatorCpu: beside.cpuRatio,
      generatorLagMs: beside.lagMs,
      loopMaxMs: loop.maxMs,
      loopP99Ms: loop.p99Ms,
      loopBusyMaxMs: loop.busyMaxMs,
    },
    told: `  light tenant p99 ${soloMs.toFixed(1)} ms alone, ${besideMs.toFixed(1)} ms beside ten times its load (${(answeredRatio * 100).toFixed(1)} % answered; served before all others it would be ${leastRatio.toFixed(2)} times as long as alone); its runs ${mean(runs(alone)).toFixed(1)} and ${mean(runs(beside)).toFixed(1)} ms (mean), ${quantile(runs(alone), 0.99).toFixed(1)} and ${quantile(runs(beside), 0.99).toFixed(1)} ms (p99); beside, the worker waited for a core for ${(100 * (beside.threads?.workerWaitRatio ?? NaN)).toFixed(0)} % of the time, and the main thread had ${(100 * (beside.threads?.mainRatio ?? NaN)).toFixed(0)} % of one; of what the other was granted ${(notDoneRatio * 100).toFixed(0)} % was not done; generator ${(beside.cpuRatio * 100).toFixed(0)} % of a core; server's loop late by ${loop.maxMs.toFixed(1)} ms at most, at work for ${loop.busyMaxMs.toFixed(1)} ms at most`,
  };
}

/**
 * Under a load that keeps it just busy, requests that cannot be answered in the 2 ms that they have left: how long they wait to
 * hear so, as the 99th percentile. Requests that were answered nevertheless took their time.
 */
export async function expired(
  subject: OverloadSubject,
  perSecond: number,
  seed: number,
  note: (row: Row) => void,
): Promise<{ readonly p50Ms: number; readonly p99Ms: number }> {
  const busy = stream(subject, "busy", perSecond, 6, seed);
  const hopeless = stream(subject, "hopeless", 40, 6, seed + 1, {}, 2 + wayBackMs);
  const result = await subject.generator.run(subject.server.port, [busy, hopeless]);
  const [, one] = result.streams;
  if (!one) return { p50Ms: NaN, p99Ms: NaN };
  const times = { p50Ms: quantile(one.serverMs, 0.5), p99Ms: quantile(one.serverMs, 0.99) };
  note({
    phase: "expired",
    sent: one.statuses.length,
    answeredAllTheSame: answered(one).length,
    refusedRatio: refusals(one).length / one.statuses.length,
    ...times,
    generatorCpu: result.cpuRatio,
  });
  return times;
}
