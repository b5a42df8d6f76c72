import { type BatchReport, type Call, type Clock, LongshoreError } from "@longshore/core";
import type { Slots } from "../slots/index.ts";

/** How a server of a farm puts requests together. */
export interface FarmBatching {
  /** Requests that share a run at most. */
  readonly most: number;
  /** The part of the longest member's own time that every run takes; each member adds the rest of its own time. */
  readonly fixedRatio: number;
}

/** One slot whose runs are shared. */
export interface BatchSlot extends Slots {
  /** When a request that comes now would be done, in milliseconds from now, if no other came after it. */
  finishMs(serviceMs: number): number;
  /** The server's report of its runs, see `LoadReport.batch`. */
  batch(): BatchReport;
}

interface Member {
  readonly sinceMs: number;
  readonly serviceMs: number;
  readonly expectedMs: number;
  readonly done: (queueMs: number, runMs: number) => void;
}

/** Weight of one request in what runs usually take. */
const usualWeight = 0.05;

/** The time of a shared run of members with these times alone. */
export function sharedRunMs({ fixedRatio }: FarmBatching, aloneMs: readonly number[]): number {
  let longest = 0;
  let total = 0;
  for (const ms of aloneMs) {
    longest = Math.max(longest, ms);
    total += ms;
  }
  return fixedRatio * longest + (1 - fixedRatio) * total;
}

/** Requests a slot can take in the time of one that runs alone, when all its runs are full. */
export function batchGain(batching: FarmBatching): number {
  return (
    batching.most /
    sharedRunMs(
      batching,
      Array.from({ length: batching.most }, () => 1),
    )
  );
}

/**
 * Starts idle. Requests that wait when a run ends share the next, up to the limit, in the order of arrival; a run waits for no
 * further request.
 */
export function batchSlot(batching: FarmBatching, clock: Clock): BatchSlot {
  const { most } = batching;
  const queue: Member[] = [];
  let running = 0;
  let untilMs = 0;
  /** Members of a run, as requests of late met it. */
  let requests = 1;

  function fill(): void {
    if (running > 0 || queue.length === 0) return;
    const members = queue.splice(0, most);
    const nowMs = clock.nowMs();
    const runMs = sharedRunMs(
      batching,
      members.map(({ serviceMs }) => serviceMs),
    );
    running = members.length;
    untilMs = nowMs + runMs;
    requests += Math.min(1, usualWeight * running) * (running - requests);
    // The slot is free before the answers leave, one by one: the load that they report does not include themselves.
    clock.timer(runMs, () => {
      running = 0;
      fill();
      for (const { sinceMs, done } of members) done(nowMs - sinceMs, runMs);
    });
  }

  /** Start of the run that a request arriving now would share, and the requests that share it. */
  function next(of: (member: Member) => number): { readonly waitMs: number; readonly beside: number[] } {
    let waitMs = running > 0 ? Math.max(0, untilMs - clock.nowMs()) : 0;
    const full = Math.floor(queue.length / most) * most;
    for (let at = 0; at < full; at += most)
      waitMs += sharedRunMs(batching, queue.slice(at, at + most).map(of));
    return { waitMs, beside: queue.slice(full).map(of) };
  }

  return {
    work(serviceMs, call: Call, expectedMs) {
      if (call.abort.aborted) {
        return Promise.reject(new LongshoreError("cancelled", "queue", "nobody waits for the run"));
      }
      return new Promise((resolve) => {
        const ms = serviceMs();
        const done: Member["done"] = (queueMs, runMs) => resolve({ queueMs, serviceMs: runMs });
        queue.push({ sinceMs: clock.nowMs(), serviceMs: ms, expectedMs: expectedMs ?? ms, done });
        fill();
      });
    },
    waitMs: () => next(({ expectedMs }) => expectedMs).waitMs,
    finishMs(serviceMs) {
      const { waitMs, beside } = next((member) => member.serviceMs);
      return waitMs + sharedRunMs(batching, [...beside, serviceMs]);
    },
    batch() {
      const rows = Array.from({ length: Math.round(requests) }, () => 1);
      return { requests, shareRatio: 1 / batchGain(batching) / sharedRunMs(batching, rows) };
    },
    get inFlight() {
      return queue.length + running;
    },
    get busyRatio() {
      return running > 0 ? 1 : 0;
    },
  };
}
