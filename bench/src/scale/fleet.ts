import type { Random } from "@longshore/core";
import type { Day } from "./day.ts";

/** The figures of a moment that an autoscaler may see. */
export interface Seen {
  readonly nowMs: number;
  /** Endpoints that are ready, and those that were started as well. */
  readonly ready: number;
  readonly started: number;
  /** Requests that wait and that run. */
  readonly waiting: number;
  readonly running: number;
  /** Mean busy share of the ready endpoints in the last half minute: what a metrics server tells. */
  readonly busyRatio: number;
  /** Requests that arrived since the last look, and run times of some that were answered. */
  readonly arrivals: number;
  readonly runMs: Float64Array;
}

/** Wanted endpoints, read every `lookMs`. */
export interface Autoscaler {
  readonly name: string;
  wanted(seen: Seen): number;
}

export interface FleetOptions {
  readonly lookMs: number;
  readonly startMs: number;
  readonly deadlineMs: number;
  readonly most: number;
  readonly random: Random;
}

export interface FleetResult {
  readonly missRatio: number;
  readonly endpointHours: number;
  readonly p95Ms: number;
  readonly mostEndpoints: number;
}

interface Endpoint {
  readonly startedMs: number;
  readonly readyMs: number;
  /** When the work that was given to it ends. */
  freeMs: number;
  /** Time without work since it was ready, up to `freeMs`; and at the last look, up to then. */
  idleMs: number;
  lookedMs: number;
  /** Ends of its requests that have not passed, and the first that has not. */
  readonly ends: number[];
  at: number;
  leaving: boolean;
}

/** The beginning, in which every autoscaler comes from one endpoint, does not count. */
const countedFromMs = 1_800_000;
const kept = 256;
const busyWindow = 2;

/**
 * Runs a day on a fleet in virtual time. A request goes to the ready endpoint where it waits least, as the planner sends it among equal
 * endpoints; one that cannot make its deadline there is refused and counts as missed. A start takes `startMs`, give or take a quarter. An
 * endpoint that leaves finishes its requests, and counts from its start to that end.
 */
export function runDay(day: Day, scaler: Autoscaler, options: FleetOptions): FleetResult {
  const { lookMs, startMs, deadlineMs, most, random } = options;
  let fleet: Endpoint[] = [
    { startedMs: 0, readyMs: 0, freeMs: 0, idleMs: 0, lookedMs: 0, ends: [], at: 0, leaving: false },
  ];
  const left: Endpoint[] = [];
  let hoursMs = 0;
  let missed = 0;
  let mostEndpoints = 1;
  const took = new Float64Array(day.atMs.length);
  let answered = 0;
  const runs = new Float64Array(kept);
  let ran = 0;
  let arrivals = 0;
  const busy: number[] = [];
  let nextLook = lookMs;

  const look = (nowMs: number): void => {
    let [waiting, running, ready, idleMs] = [0, 0, 0, 0];
    for (const one of fleet) {
      if (one.readyMs > nowMs) continue;
      ready++;
      while (one.at < one.ends.length && (one.ends[one.at] ?? Infinity) <= nowMs) one.at++;
      if (one.at > 1024) {
        one.ends.splice(0, one.at);
        one.at = 0;
      }
      const open = one.ends.length - one.at;
      if (open > 0) {
        running++;
        waiting += open - 1;
      }
      const idle = one.idleMs + Math.max(0, nowMs - one.freeMs);
      idleMs += Math.min(lookMs, idle - one.lookedMs);
      one.lookedMs = idle;
    }
    busy.push(ready === 0 ? 1 : Math.max(0, 1 - idleMs / (ready * lookMs)));
    if (busy.length > busyWindow) busy.shift();
    for (let at = left.length - 1; at >= 0; at--) {
      const one = left[at];
      if (!one || one.freeMs > nowMs) continue;
      hoursMs += Math.max(0, one.freeMs - Math.max(countedFromMs, one.startedMs));
      left.splice(at, 1);
    }
    const wanted = scaler.wanted({
      nowMs,
      ready,
      started: fleet.length,
      waiting,
      running,
      busyRatio: busy.reduce((sum, one) => sum + one, 0) / busy.length,
      arrivals,
      runMs: runs.slice(0, Math.min(ran, kept)).sort(),
    });
    arrivals = 0;
    const target = Math.max(1, Math.min(most, wanted));
    while (fleet.length < target) {
      const readyMs = nowMs + startMs * (0.75 + 0.5 * random.next());
      fleet.push({
        startedMs: nowMs,
        readyMs,
        freeMs: readyMs,
        idleMs: 0,
        lookedMs: 0,
        ends: [],
        at: 0,
        leaving: false,
      });
    }
    mostEndpoints = Math.max(mostEndpoints, fleet.length);
    if (fleet.length > target) {
      // Those that are not ready go first, then the latest, as a Deployment does.
      const order = [...fleet].sort((a, b) => a.readyMs - b.readyMs);
      for (const one of order.slice(target)) {
        if (one.readyMs > nowMs) one.freeMs = nowMs;
        else one.freeMs = Math.max(one.freeMs, nowMs);
        left.push(one);
      }
      fleet = order.slice(0, target);
    }
  };

  for (let index = 0; index < day.atMs.length; index++) {
    const atMs = day.atMs[index] ?? 0;
    while (nextLook <= atMs) {
      look(nextLook);
      nextLook += lookMs;
    }
    arrivals++;
    const runMs = day.runMs[index] ?? 0;
    let best: Endpoint | undefined;
    for (const one of fleet) if (one.readyMs <= atMs && (!best || one.freeMs < best.freeMs)) best = one;
    const waitMs = best ? Math.max(0, best.freeMs - atMs) : Infinity;
    if (!best || waitMs + runMs > deadlineMs) {
      if (atMs >= countedFromMs) missed++;
      continue;
    }
    best.idleMs += Math.max(0, atMs - best.freeMs);
    best.freeMs = atMs + waitMs + runMs;
    best.ends.push(best.freeMs);
    if (atMs >= countedFromMs) took[answered++] = waitMs + runMs;
    runs[ran++ % kept] = runMs;
  }
  for (const one of fleet) hoursMs += day.lengthMs - Math.max(countedFromMs, one.startedMs);
  for (const one of left)
    hoursMs += Math.max(0, Math.min(day.lengthMs, one.freeMs) - Math.max(countedFromMs, one.startedMs));
  const sorted = took.subarray(0, answered).sort();
  return {
    missRatio: missed / (answered + missed),
    endpointHours: hoursMs / 3_600_000,
    p95Ms: sorted[Math.floor(0.95 * answered)] ?? NaN,
    mostEndpoints,
  };
}
