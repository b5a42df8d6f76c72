/**
 * Asking places how busy they are. Replies tell the load of places that are used, and that is all there is to know as long
 * as nobody else sends there. Where others do, what a place said is soon wrong, and a place that is left alone says nothing:
 * each of several gateways believes a slow server idle because it did not send there itself, and all of them send there at
 * once. So after a request those who would be next in line are asked: an empty body, answered with headers.
 *
 * Where asking takes hardly any time beside what the request is expected to take, the decision waits for it: first, the best of
 * a plan that is not followed yet and those next to it are asked, then the plan is made. What others sent in the meantime is
 * all that such a decision does not know.
 *
 * As in Prequal (Wydrowski, Kleinberg, Rumble, Archer 2024, "Load is not what you should balance: introducing Prequal") this
 * is bounded by the number of requests. Where the paper asks drawn servers and keeps a
 * pool of replies, here the replies go into what is believed of each place anyway, which ages by itself; so those are asked
 * whose answer may change the next choice.
 *
 * Other people's servers say nothing in their replies. Those that are used, or might be next, are asked beside them, about
 * once a second whatever the number of requests.
 */
import { type Clock, type EndpointId, LongshoreError } from "../base/index.ts";
import { meanOf } from "../estimate/index.ts";
import type { Lost, Plan } from "../plan/index.ts";
import type { Place } from "../places/index.ts";
import { askProbe } from "./ask-probe.ts";

/** Sends probes off the path of requests. Disposing gives up those under way. */
export interface LoadProbes extends Disposable {
  /** Others send here lately, and places say how busy they are soon enough that a decision may wait for it. */
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
  readonly all: ReadonlyMap<EndpointId, Place>;
  touched(): void;
}

/** A place is asked again no sooner than this share of a run there, and this many milliseconds, after it said something. */
const restRatio = 0.1;
const leastRestMs = 2;
/** After decisions no more are sent than so many for each request: gateways that all know the same run to the same place. */
const mostAfter = 1;
/** Unspent probes that are kept for later. */
const mostSaved = 8;
/** Only places whose score is within this factor of the best might be next. */
const contendingRatio = 3;
/** So many places are asked before a decision, as long as asking takes at most this share of what the request is expected to. */
const askedBefore = 3;
const worthRatio = 0.1;
/** Only those whose score is within this factor of the best. */
const rivalRatio = 1.5;
/** It is waited for so many times what it usually takes. */
const patienceRatio = 2;
/** So long after it was worth asking it may be again, in milliseconds. */
const usefulForMs = 1000;
/**
 * Where more than this share of a decision is made here while a question is under way, others have long sent what makes the answer
 * old; gateways that have all heard the same would run to the same place.
 */
const overtakenRatio = 0.2;
/** Weight of one decision in how often they are made. */
const gapWeight = 0.05;
/** Weight of one probe in what they usually take. */
const tookWeight = 0.2;
/** A place that takes longer to say how busy it is than this does not say it. */
const probeDeadlineMs = 1000;

function isNear(why: Lost["why"], ratio = contendingRatio): boolean {
  return why.kind === "score" && why.score <= ratio * Math.abs(why.bestScore);
}

/** Starts with nothing under way. `perRequest` probes are sent for each request on the whole. */
export function loadProbes(
  { clock }: { readonly clock: Clock },
  places: Asked,
  perRequest: number,
): LoadProbes {
  const underWay = new Map<Place, AbortController>();
  /** Of places that say nothing by themselves. */
  const askedAtMs = new WeakMap<Place, number>();
  /** What asking usually takes, in milliseconds. */
  const usualMs = new WeakMap<Place, number>();
  let saved = 0;
  let savedAfter = 0;
  let usefulUntilMs = -Infinity;
  /** Time between decisions. */
  let gapMs = 0;
  let decidedAtMs: number | undefined;

  async function ask(place: Place): Promise<void> {
    const { id } = place.endpoint.info;
    const control = new AbortController();
    const startedMs = clock.nowMs();
    underWay.set(place, control);
    try {
      const late = `${id} did not say how busy it is`;
      const load = await askProbe(clock, place, 0, control, {
        callId: `load-${id}`,
        mostMs: probeDeadlineMs,
        late,
      });
      const nowMs = clock.nowMs();
      if (load) place.reported(load, nowMs, nowMs - startedMs);
      const usual = usualMs.get(place) ?? nowMs - startedMs;
      usualMs.set(place, usual + tookWeight * (nowMs - startedMs - usual));
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "transport", `asking ${id} how busy it is`);
      // That nobody is there is worth knowing before the next request; anything else is for requests to find out.
      if (error.reason === "unreachable") place.failed(error, clock.nowMs());
    } finally {
      underWay.delete(place);
      places.touched();
    }
  }

  /** The best of the plan's losers that are worth asking; few, so they are kept in order by insertion. */
  function contenders(plan: Plan, nowMs: number, count: number, ratio = contendingRatio): readonly Place[] {
    const best: { readonly place: Place; readonly score: number }[] = [];
    for (const { endpoint, why } of plan.lost) {
      if (why.kind !== "score" || !isNear(why, ratio)) continue;
      if (best.length === count && why.score >= (best.at(-1)?.score ?? 0)) continue;
      const place = places.all.get(endpoint);
      if (!place || !answersProbes(place) || !isStale(place, nowMs)) continue;
      const at = best.findIndex(({ score }) => score > why.score);
      best.splice(at < 0 ? best.length : at, 0, { place, score: why.score });
      if (best.length > count) best.pop();
    }
    return best.map(({ place }) => place);
  }

  /** Whether what a place that others use, too, said last is too old. */
  function isStale(place: Place, nowMs: number): boolean {
    const restMs = Math.max(leastRestMs, restRatio * place.serviceMs);
    return place.shared(nowMs) && nowMs - place.heardAtMs >= restMs;
  }

  function answersProbes(place: Place): boolean {
    const { endpoint } = place;
    return endpoint.probe !== undefined && endpoint.loadEveryMs === undefined && !underWay.has(place);
  }

  /** Asks one that says nothing by itself, if its time has come. */
  function askSilent(id: EndpointId, nowMs: number): void {
    const place = places.all.get(id);
    const everyMs = place?.endpoint.loadEveryMs;
    if (!place || everyMs === undefined || underWay.has(place)) return;
    if (nowMs - (askedAtMs.get(place) ?? -Infinity) < everyMs) return;
    askedAtMs.set(place, nowMs);
    void ask(place);
  }

  /** What asking places takes; undefined where nobody knows, or where it takes too long to be waited for. */
  function worthMs(plan: Plan, asked: readonly Place[]): number | undefined {
    const takesMs = Math.max(...asked.map((place) => usualMs.get(place) ?? Infinity));
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
      if (most < 1 || places.all.size < 2) return;
      const asked = contenders(plan, nowMs, most);
      if (asked.length > 0 && worthMs(plan, asked) !== undefined) usefulUntilMs = nowMs + usefulForMs;
      for (const place of asked) {
        saved -= 1;
        savedAfter -= 1;
        void ask(place);
      }
    },
    before(plan, nowMs) {
      const [leg] = plan.legs;
      const chosen = leg && places.all.get(leg.endpoint);
      if (!chosen || saved + perRequest < 1 || places.all.size < 2) return undefined;
      const most = Math.min(askedBefore, Math.floor(saved + perRequest));
      const asked = contenders(plan, nowMs, most, rivalRatio).filter((place) => usualMs.has(place));
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
