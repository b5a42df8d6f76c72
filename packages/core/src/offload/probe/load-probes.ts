/**
 * Asking endpoints how busy they are. Replies tell the load of endpoints that are used, and that is all there is to know as long
 * as nobody else sends there. Where others do, what an endpoint said is soon wrong, and an endpoint that is left alone says nothing:
 * each of several gateways believes a slow server idle because it did not send there itself, and all of them send there at
 * once. So after a request those who would be next in line are asked: an empty body, answered with headers.
 *
 * Where asking takes hardly any time beside what the request is expected to take, the decision waits for it: first, the best of
 * a plan that is not followed yet and those next to it are asked, then the plan is made. What others sent in the meantime is
 * all that such a decision does not know.
 *
 * As in Prequal (Wydrowski, Kleinberg, Rumble, Archer 2024, "Load is not what you should balance: introducing Prequal") this
 * is bounded by the number of requests. Where the paper asks drawn servers and keeps a
 * pool of replies, here the replies go into what is believed of each endpoint anyway, which ages by itself; so those are asked
 * whose answer may change the next choice.
 *
 * Other people's servers say nothing in their replies. Those that are used, or might be next, are asked beside them, about
 * once a second whatever the number of requests.
 */
import { type Clock, type EndpointId, LongshoreError } from "../../words/base/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import type { Lost, Plan } from "../../decide/plan/index.ts";
import type { EndpointState } from "../endpoints/index.ts";
import { askProbe } from "./ask-probe.ts";

/** Sends probes off the path of requests. Disposing gives up those under way. */
export interface LoadProbes extends Disposable {
  /** Others send here lately, and endpoints say how busy they are soon enough that a decision may wait for it. */
  useful(nowMs: number): boolean;
  /** After a decision: asks those that lost by little. */
  consider(plan: Plan, nowMs: number): void;
  /**
   * Before a decision that would make that plan: asks those that are best by it. Settles when they have said how busy they are, or
   * when that takes longer than it should; undefined where it is not worth waiting for.
   */
  before(plan: Plan, nowMs: number): Promise<void> | undefined;
}

/** Who may be asked, and who is told that loads changed. */
export interface Asked {
  readonly all: ReadonlyMap<EndpointId, EndpointState>;
  touched(): void;
}

/** The least pause before an endpoint is polled again, as a share of a run there. */
const restRatio = 0.1;
/** The least pause before an endpoint is polled again, in milliseconds. */
const leastRestMs = 2;
/** After decisions no more are sent than so many for each request: gateways that all know the same run to the same endpoint. */
const mostAfter = 1;
/** Unspent probes that are kept for later. */
const mostSaved = 8;
/** Only endpoints whose score is within this factor of the best might be next. */
const contendingRatio = 3;
/** The most endpoints polled before a decision. */
const askedBefore = 3;
/** Polling takes at most this share of the expected time of the request. */
const worthRatio = 0.1;
/** Only those whose score is within this factor of the best. */
const rivalRatio = 1.5;
/** It is waited for so many times what it usually takes. */
const patienceRatio = 2;
/** So long after it was worth asking it may be again, in milliseconds. */
const usefulForMs = 1000;
/**
 * Where more than this share of a decision is made here while a question is under way, others have long sent what makes the answer
 * old; gateways that have all heard the same would run to the same endpoint.
 */
const overtakenRatio = 0.2;
/** Weight of one decision in how often they are made. */
const gapWeight = 0.05;
/** Weight of one probe in what they usually take. */
const tookWeight = 0.2;
/** An endpoint that takes longer to say how busy it is than this does not say it. */
const probeDeadlineMs = 1000;

function isNear(why: Lost["why"], ratio = contendingRatio): boolean {
  return why.kind === "score" && why.score <= ratio * Math.abs(why.bestScore);
}

/** Starts with nothing under way. `perRequest` probes are sent for each request on the whole. */
export function loadProbes(
  { clock }: { readonly clock: Clock },
  endpoints: Asked,
  perRequest: number,
): LoadProbes {
  const underWay = new Map<EndpointState, AbortController>();
  /** Of endpoints that say nothing by themselves. */
  const askedAtMs = new WeakMap<EndpointState, number>();
  /** What asking usually takes, in milliseconds. */
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
      if (load) endpointState.reported(load, nowMs, nowMs - startedMs);
      const usual = usualMs.get(endpointState) ?? nowMs - startedMs;
      usualMs.set(endpointState, usual + tookWeight * (nowMs - startedMs - usual));
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "transport", `asking ${id} how busy it is`);
      // That nobody is there is worth knowing before the next request; anything else is for requests to find out.
      if (error.reason === "unreachable") endpointState.failed(error, clock.nowMs());
    } finally {
      underWay.delete(endpointState);
      endpoints.touched();
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

  /** Whether what an endpoint that others use, too, said last is too old. */
  function isStale(endpointState: EndpointState, nowMs: number): boolean {
    const restMs = Math.max(leastRestMs, restRatio * endpointState.serviceMs);
    return endpointState.shared(nowMs) && nowMs - endpointState.heardAtMs >= restMs;
  }

  function answersProbes(endpointState: EndpointState): boolean {
    const { endpoint } = endpointState;
    return (
      endpoint.capabilities?.probe !== undefined &&
      endpoint.capabilities?.loadEveryMs?.() === undefined &&
      !underWay.has(endpointState)
    );
  }

  /** Asks one that says nothing by itself, if its time has come. */
  function askSilent(id: EndpointId, nowMs: number): void {
    const endpointState = endpoints.all.get(id);
    const everyMs = endpointState?.endpoint.capabilities?.loadEveryMs?.();
    if (!endpointState || everyMs === undefined || underWay.has(endpointState)) return;
    if (nowMs - (askedAtMs.get(endpointState) ?? -Infinity) < everyMs) return;
    askedAtMs.set(endpointState, nowMs);
    void ask(endpointState);
  }

  /** What asking endpoints takes; undefined where nobody knows, or where it takes too long to be waited for. */
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
