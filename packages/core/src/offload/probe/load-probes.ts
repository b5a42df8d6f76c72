/**
 * Polls the load of endpoints. Replies carry the load of endpoints in use, which suffices if no other client sends there. If others do, a
 * report is soon outdated, and an unused endpoint reports nothing: each of several gateways believes a slow server idle because it did not
 * use it itself, and all send there at once. So after a request the next best endpoints are polled: an empty body, answered with headers.
 *
 * Where polling takes hardly any time compared with the request, the decision waits for it: a first plan selects the best endpoints, these
 * are polled, then the real plan is made. Such a decision misses only what others sent meanwhile.
 *
 * As in Prequal (Wydrowski, Kleinberg, Rumble, Archer 2024, "Load is not what you should balance: introducing Prequal") the number of
 * requests bounds the polls. The paper polls random servers and keeps a pool of replies. Here replies update the belief about each
 * endpoint, which ages by itself; so the endpoints whose answer may change the next choice are polled.
 *
 * Foreign servers report no load in replies. Those in use, or next best, are polled separately, about once a second whatever the number of
 * requests.
 */
import { type Clock, type EndpointId, LongshoreError } from "../../words/base/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import type { LostCandidate, Plan } from "../../decide/plan/index.ts";
import type { EndpointState, EndpointTables } from "../endpoints/index.ts";
import { askProbe } from "./ask-probe.ts";

/** Sends probes off the path of requests. Disposing gives up those under way. */
export interface LoadProbes extends Disposable {
  /** Whether other clients sent to these endpoints recently, and polls are quick enough that a decision may wait for them. */
  useful(nowMs: number): boolean;
  /** After a decision: polls endpoints that lost by little. */
  consider(plan: Plan, nowMs: number): void;
  /**
   * Before a decision that would make this plan: polls its best endpoints. Settles when they have answered, or after a limit; undefined if
   * it is not worth the wait.
   */
  before(plan: Plan, nowMs: number): Promise<void> | undefined;
}

/** The endpoints to poll, and the receiver of new loads. */
export interface PolledEndpoints {
  readonly all: ReadonlyMap<EndpointId, EndpointState>;
  readonly tables: Pick<EndpointTables, "touched">;
}

/** The least pause before an endpoint is polled again, as a share of a run there. */
const restRatio = 0.1;
/** The least pause before an endpoint is polled again, in milliseconds. */
const leastRestMs = 2;
/** The most polls after a decision for each request: gateways with the same knowledge would run to the same endpoint. */
const mostAfter = 1;
/** Unspent probes that are kept for later. */
const mostSaved = 8;
/** Only endpoints with a score within this factor of the best may be next. */
const contendingRatio = 3;
/** The most endpoints polled before a decision. */
const askedBefore = 3;
/** Polling takes at most this share of the expected time of the request. */
const worthRatio = 0.1;
/** Only endpoints with a score within this factor of the best are polled before a decision. */
const rivalRatio = 1.5;
/** A decision waits at most this many times the usual time of a poll. */
const patienceRatio = 2;
/** How long waiting for polls counts as useful after it last was, in milliseconds. */
const usefulForMs = 1000;
/**
 * If more than this share of a decision's interval passes during a poll, other requests have made its answer old, and gateways with the
 * same answers would run to the same endpoint.
 */
const overtakenRatio = 0.2;
/** Weight of one decision in how often they are made. */
const gapWeight = 0.05;
/** Weight of one poll in their usual time. */
const tookWeight = 0.2;
/** An endpoint that takes longer to report its load is left out, in milliseconds. */
const probeDeadlineMs = 1000;

function isNear(why: LostCandidate["why"], ratio = contendingRatio): boolean {
  return why.kind === "score" && why.score <= ratio * Math.abs(why.bestScore);
}

/** Starts with nothing under way. `perRequest` probes are sent for each request on the whole. */
export function loadProbes(
  { clock }: { readonly clock: Clock },
  endpoints: PolledEndpoints,
  perRequest: number,
): LoadProbes {
  const underWay = new Map<EndpointState, AbortController>();
  /** When foreign servers were last polled. */
  const askedAtMs = new WeakMap<EndpointState, number>();
  /** Usual time of a poll, in milliseconds. */
  const usualMs = new WeakMap<EndpointState, number>();
  let saved = 0;
  let savedAfter = 0;
  let usefulUntilMs = -Infinity;
  /** Time between decisions. */
  let gapMs = 0;
  let decidedAtMs: number | undefined;

  async function ask(endpointState: EndpointState): Promise<void> {
    const { id } = endpointState.endpoint.info;
    const control = new AbortController();
    const startedMs = clock.nowMs();
    underWay.set(endpointState, control);
    try {
      const late = `${id} did not say how busy it is`;
      const load = await askProbe(clock, endpointState, 0, control.signal, {
        callId: `load-${id}`,
        mostMs: probeDeadlineMs,
        late,
      });
      const nowMs = clock.nowMs();
      if (load) endpointState.reports.load(load, nowMs, nowMs - startedMs);
      const usual = usualMs.get(endpointState) ?? nowMs - startedMs;
      usualMs.set(endpointState, usual + tookWeight * (nowMs - startedMs - usual));
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "transport", `asking ${id} how busy it is`);
      // An unreachable endpoint is worth knowing before the next request. Requests find out anything else.
      if (error.reason === "unreachable") endpointState.outcomes.failed(error, clock.nowMs());
    } finally {
      underWay.delete(endpointState);
      endpoints.tables.touched();
    }
  }

  /** The best of the plan's losers that are worth asking; few, so they are kept in order by insertion. */
  function contenders(
    plan: Plan,
    nowMs: number,
    count: number,
    ratio = contendingRatio,
  ): readonly EndpointState[] {
    const best: { readonly endpoint: EndpointState; readonly score: number }[] = [];
    for (const { endpoint, why } of plan.lost) {
      if (why.kind !== "score" || !isNear(why, ratio)) continue;
      if (best.length === count && why.score >= (best.at(-1)?.score ?? 0)) continue;
      const endpointState = endpoints.all.get(endpoint);
      if (!endpointState || !answersProbes(endpointState) || !isStale(endpointState, nowMs)) continue;
      const at = best.findIndex(({ score }) => score > why.score);
      best.splice(at < 0 ? best.length : at, 0, { endpoint: endpointState, score: why.score });
      if (best.length > count) best.pop();
    }
    return best.map(({ endpoint: endpointState }) => endpointState);
  }

  /** Whether the last report of an endpoint that other clients use, too, is too old. */
  function isStale(endpointState: EndpointState, nowMs: number): boolean {
    const restMs = Math.max(leastRestMs, restRatio * endpointState.queue.serviceMs);
    return endpointState.queue.shared(nowMs) && nowMs - endpointState.queue.reportedAtMs >= restMs;
  }

  function answersProbes(endpointState: EndpointState): boolean {
    const { endpoint } = endpointState;
    return (
      endpoint.capabilities.probe !== undefined &&
      endpoint.capabilities.loadEveryMs?.() === undefined &&
      !underWay.has(endpointState)
    );
  }

  /** Polls a foreign server, if its time has come. */
  function askSilent(id: EndpointId, nowMs: number): void {
    const endpointState = endpoints.all.get(id);
    const everyMs = endpointState?.endpoint.capabilities.loadEveryMs?.();
    if (!endpointState || everyMs === undefined || underWay.has(endpointState)) return;
    if (nowMs - (askedAtMs.get(endpointState) ?? -Infinity) < everyMs) return;
    askedAtMs.set(endpointState, nowMs);
    void ask(endpointState);
  }

  /** Usual time of such polls; undefined if it is unknown or too long to wait. */
  function worthMs(plan: Plan, asked: readonly EndpointState[]): number | undefined {
    const takesMs = Math.max(...asked.map((endpointState) => usualMs.get(endpointState) ?? Infinity));
    const mostMs = Math.min(worthRatio * meanOf(plan.predicted.completionMs), overtakenRatio * gapMs);
    return takesMs <= mostMs ? takesMs : undefined;
  }

  async function soon(answers: Promise<unknown>, patienceMs: number): Promise<void> {
    let timer: Disposable | undefined;
    const over = new Promise<void>((resolve) => void (timer = clock.timer(patienceMs, resolve)));
    await Promise.race([answers, over]);
    timer?.[Symbol.dispose]();
  }

  return {
    useful: (nowMs) => nowMs < usefulUntilMs,
    consider(plan, nowMs) {
      for (const { endpoint } of plan.legs) askSilent(endpoint, nowMs);
      for (const { endpoint, why } of plan.lost) if (isNear(why)) askSilent(endpoint, nowMs);
      if (decidedAtMs !== undefined) gapMs += gapWeight * (nowMs - decidedAtMs - gapMs);
      decidedAtMs = nowMs;
      saved = Math.min(mostSaved, saved + perRequest);
      savedAfter = Math.min(mostSaved, savedAfter + Math.min(mostAfter, perRequest));
      const most = Math.floor(Math.min(saved, savedAfter));
      if (most < 1 || endpoints.all.size < 2) return;
      const asked = contenders(plan, nowMs, most);
      if (asked.length > 0 && worthMs(plan, asked) !== undefined) usefulUntilMs = nowMs + usefulForMs;
      for (const endpointState of asked) {
        saved -= 1;
        savedAfter -= 1;
        void ask(endpointState);
      }
    },
    before(plan, nowMs) {
      const [leg] = plan.legs;
      const chosen = leg && endpoints.all.get(leg.endpoint);
      if (!chosen || saved + perRequest < 1 || endpoints.all.size < 2) return undefined;
      const most = Math.min(askedBefore, Math.floor(saved + perRequest));
      const asked = contenders(plan, nowMs, most, rivalRatio).filter((endpointState) =>
        usualMs.has(endpointState),
      );
      const own = usualMs.has(chosen) && answersProbes(chosen) && isStale(chosen, nowMs);
      const all = (own ? [chosen, ...asked] : asked).slice(0, most);
      if (all.length === 0) return undefined;
      const takesMs = worthMs(plan, all);
      if (takesMs === undefined) {
        usefulUntilMs = -Infinity;
        return undefined;
      }
      usefulUntilMs = nowMs + usefulForMs;
      saved -= all.length;
      return soon(Promise.all(all.map(ask)), patienceRatio * takesMs);
    },
    [Symbol.dispose]() {
      const closed = new LongshoreError("shutting-down", "transport", "the offloader was closed");
      for (const control of underWay.values()) control.abort(closed);
    },
  };
}
