/**
 * How busy a server is that reports it only in its metrics.
 *
 * An endpoint of our own reports with every reply how long its queue is. Others count: requests, time spent, sometimes how many
 * wait. A queue in requests is no time, and a count since the start says nothing of now. Two readings do: the increase between
 * them over the time between them is the mean number of requests that ran at once (J. D. C. Little 1961, "A proof for the
 * queuing formula L = λW"), and over the requests that ended it is the time of a run. A queue is then as long as it takes to
 * work off: its requests times the time between two ends, which while requests wait is the pace that the server keeps up, and
 * which is never longer than a run.
 *
 * If a server reports neither how many wait nor how many are there, the wait that others cause follows from the share of time
 * that they keep it busy, as for one server with equal runs (A. K. Erlang 1909). Requests of this endpoint are subtracted from
 * that, and from the number of runs if none wait: it knows of its own, and finished ones occupy nothing. Such servers answer
 * for their metrics in between runs, in their turn, so that a reading that took long has itself waited in the queue.
 */
import type { LoadReport } from "../endpoint/index.ts";
import { mostQueueMs } from "./load-headers.ts";
import { maxModels, type ModelFigures, type ServerFigures } from "../protocol/index.ts";

/** The results from the readings of one server. */
export interface ServerLoad {
  /** Takes a reading in, which came after `waitedMs` more than the quickest; says how busy the server is. */
  seen(figures: ServerFigures, own: OwnRequests, nowMs: number, waitedMs?: number): LoadReport;
  /** Takes in what the server says elsewhere of requests so far. */
  counted(models: ReadonlyMap<string, ModelFigures>): void;
  /** The time of a run of the model, in milliseconds; undefined before the first. */
  runMs(model: string, version: string): number | undefined;
}

/** The requests that this endpoint itself had there. */
export interface OwnRequests {
  readonly underWay: number;
  readonly finished: number;
}

/** A server that others keep busy for more than this share of the time has a queue of any length. */
const mostBusyRatio = 0.95;
/** So many runs say again what a run takes; fewer are added to what is known. */
const tellingRuns = 8;
/** The rest of the run that a queue waits for first, as a share of the time between two ends. */
const residualRatio = 0.5;

/** One model between two readings. */
interface Between {
  readonly finished: number;
  readonly runMs: number;
}

function between(before: ModelFigures | undefined, now: ModelFigures): Between {
  // Counts that went down are those of a server that started again.
  const anew = !before || now.finished < before.finished || now.runMs < before.runMs;
  return anew
    ? { finished: 0, runMs: 0 }
    : { finished: now.finished - before.finished, runMs: now.runMs - before.runMs };
}

/** Keeps what was set last; a server names as many models as it likes. */
function keep<T>(kept: Map<string, T>, key: string, value: T): void {
  kept.delete(key);
  kept.set(key, value);
  const [oldest] = kept.keys();
  if (kept.size > maxModels && oldest !== undefined) kept.delete(oldest);
}

/** Starts with nothing seen. */
export function serverLoad(): ServerLoad {
  let before: (ServerFigures & { readonly atMs: number; readonly own: OwnRequests }) | undefined;
  const counts = new Map<string, ModelFigures>();
  const runs = new Map<string, number>();

  /** The first time only the sums since the server's start are known, which are better than nothing. */
  const learn = (key: string, last: ModelFigures | undefined, now: ModelFigures, since: Between): void => {
    const { finished, runMs } = last ? since : now;
    if (finished <= 0 || runMs <= 0) return;
    const known = runs.get(key) ?? runMs / finished;
    keep(runs, key, known + Math.min(1, finished / tellingRuns) * (runMs / finished - known));
  };

  return {
    runMs: (model, version) => runs.get(`${model}/${version}`) ?? runs.get(model),
    counted(models) {
      for (const [key, now] of models) {
        const last = counts.get(key);
        learn(key, last, now, between(last, now));
        keep(counts, key, now);
      }
    },
    seen(figures, own, nowMs, waitedMs = 0) {
      const sinceMs = before ? Math.max(1, nowMs - before.atMs) : Infinity;
      let running = 0;
      let finished = 0;
      let busyMs = 0;
      let slowestMs = 0;
      let waiting: number | undefined;
      let queueMs = 0;
      for (const [key, model] of figures.models) {
        const last = before?.models.get(key);
        const since = between(last, model);
        learn(key, last, model, since);
        const runMs = runs.get(key) ?? 0;
        running += since.runMs / sinceMs;
        finished += since.finished;
        busyMs += since.runMs;
        slowestMs = Math.max(slowestMs, runMs);
        if (model.waiting === undefined) continue;
        waiting = (waiting ?? 0) + model.waiting;
        const paceMs = since.finished > 0 ? Math.min(runMs, sinceMs / since.finished) : runMs;
        if (model.waiting > 0) queueMs = Math.max(queueMs, (model.waiting + residualRatio) * paceMs);
      }
      // Where nothing ended, the slowest model is what may keep it.
      const meanMs = finished > 0 ? busyMs / finished : slowestMs;
      const ownRuns = before ? Math.max(0, own.finished - before.own.finished) : 0;
      const others = Math.max(0, running - (ownRuns * meanMs) / sinceMs);
      let inFlight: number;
      if (waiting !== undefined) {
        const busy = waiting > 0 ? waiting + Math.max(running, 1) : own.underWay + others;
        inFlight = figures.inFlight ?? busy;
      } else if (figures.inFlight !== undefined) {
        inFlight = figures.inFlight;
        const slots = Math.max(1, Math.round(running));
        const paceMs = finished > 0 ? Math.min(meanMs, sinceMs / finished) : meanMs;
        if (inFlight > slots) queueMs = (inFlight - slots + residualRatio) * paceMs;
      } else {
        const busyRatio = Math.min(mostBusyRatio, others);
        queueMs = Math.max(waitedMs, (meanMs * busyRatio) / (2 * (1 - busyRatio)));
        inFlight = own.underWay + Math.max(others, meanMs > 0 ? waitedMs / meanMs : 0);
      }
      before = { ...figures, atMs: nowMs, own };
      const cpuRatio = figures.cpuRatio ?? Math.min(1, running);
      return { atMs: nowMs, cpuRatio, inFlight, queueMs: Math.min(mostQueueMs, queueMs) };
    },
  };
}
