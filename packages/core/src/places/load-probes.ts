/**
 * Asking places how busy they are. Replies tell the load of places that are used, and that is all there is to know as long
 * as nobody else sends there. Where others do, what a place said is soon wrong, and a place that is left alone says nothing:
 * each of several gateways believes a slow server idle because it did not send there itself, and all of them send there at
 * once. So after a request those who would be next in line are asked: an empty body, answered with headers.
 *
 * As in Prequal (Wydrowski, Kleinberg, Rumble, Archer 2024, "Load is not what you should balance: introducing Prequal") this
 * is never on the path of a request, and bounded by the number of requests. Where the paper asks drawn servers and keeps a
 * pool of replies, here the replies go into what is believed of each place anyway, which ages by itself; so those are asked
 * whose answer may change the next choice.
 *
 * Other people's servers say nothing in their replies. Those that are used, or might be next, are asked beside them, about
 * once a second whatever the number of requests.
 */
import { type Clock, type EndpointId, housekeepingCall, LongshoreError } from "../base/index.ts";
import type { Lost, Plan } from "../plan/index.ts";
import type { Place } from "./place.ts";

/** Sends probes off the path of requests. Disposing gives up those under way. */
export interface LoadProbes extends Disposable {
  /** After a decision: asks those that lost by little. */
  consider(plan: Plan, nowMs: number): void;
}

/** Who may be asked, and who is told that loads changed. */
export interface Asked {
  readonly all: ReadonlyMap<EndpointId, Place>;
  touched(): void;
}

/** A place is asked again no sooner than this share of a run there, and this many milliseconds, after it said something. */
const restRatio = 0.1;
const leastRestMs = 2;
/** Unspent probes that are kept for later. */
const mostSaved = 8;
/** Only places whose score is within this factor of the best might be next. */
const contendingRatio = 3;
/** A place that takes longer to say how busy it is than this does not say it. */
const probeDeadlineMs = 1000;

function isNear(why: Lost["why"]): boolean {
  return why.kind === "score" && why.score <= contendingRatio * Math.abs(why.bestScore);
}

/** Starts with nothing under way. `perRequest` probes are sent for each request on the whole. */
export function loadProbes(
  { clock }: { readonly clock: Clock },
  places: Asked,
  perRequest: number,
): LoadProbes {
  const underWay = new Map<string, AbortController>();
  /** Of places that say nothing by themselves. */
  const askedAtMs = new WeakMap<Place, number>();
  let saved = 0;

  async function ask(place: Place): Promise<void> {
    const { endpoint } = place;
    const { id } = endpoint.info;
    const control = new AbortController();
    const startedMs = clock.nowMs();
    underWay.set(id, control);
    const timer = clock.timer(probeDeadlineMs, () =>
      control.abort(new LongshoreError("no-answer", "transport", `${id} did not say how busy it is`)),
    );
    try {
      const call = {
        ...housekeepingCall(`load-${id}`, control.signal),
        deadlineMs: startedMs + probeDeadlineMs,
      };
      const load = await endpoint.probe?.(0, call);
      const nowMs = clock.nowMs();
      if (load) place.reported(load, nowMs, nowMs - startedMs);
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "transport", `asking ${id} how busy it is`);
      // That nobody is there is worth knowing before the next request; anything else is for requests to find out.
      if (error.reason === "unreachable") place.failed(error, clock.nowMs());
    } finally {
      timer[Symbol.dispose]();
      underWay.delete(id);
      places.touched();
    }
  }

  /** The best of the plan's losers that are worth asking; few, so they are kept in order by insertion. */
  function contenders(plan: Plan, nowMs: number, count: number): readonly Place[] {
    const best: { readonly place: Place; readonly score: number }[] = [];
    for (const { endpoint, why } of plan.lost) {
      if (why.kind !== "score" || !isNear(why)) continue;
      if (best.length === count && why.score >= (best.at(-1)?.score ?? 0)) continue;
      const place = places.all.get(endpoint);
      if (!place?.endpoint.probe || place.endpoint.loadEveryMs !== undefined) continue;
      if (underWay.has(endpoint)) continue;
      const restMs = Math.max(leastRestMs, restRatio * place.serviceMs);
      if (!place.shared(nowMs) || nowMs - place.heardAtMs < restMs) continue;
      const at = best.findIndex(({ score }) => score > why.score);
      best.splice(at < 0 ? best.length : at, 0, { place, score: why.score });
      if (best.length > count) best.pop();
    }
    return best.map(({ place }) => place);
  }

  /** Asks one that says nothing by itself, if its time has come. */
  function askSilent(id: EndpointId, nowMs: number): void {
    const place = places.all.get(id);
    const everyMs = place?.endpoint.loadEveryMs;
    if (!place || everyMs === undefined || underWay.has(id)) return;
    if (nowMs - (askedAtMs.get(place) ?? -Infinity) < everyMs) return;
    askedAtMs.set(place, nowMs);
    void ask(place);
  }

  return {
    consider(plan, nowMs) {
      for (const { endpoint } of plan.legs) askSilent(endpoint, nowMs);
      for (const { endpoint, why } of plan.lost) if (isNear(why)) askSilent(endpoint, nowMs);
      saved = Math.min(mostSaved, saved + perRequest);
      if (saved < 1 || places.all.size < 2) return;
      for (const place of contenders(plan, nowMs, Math.floor(saved))) {
        saved -= 1;
        void ask(place);
      }
    },
    [Symbol.dispose]() {
      const closed = new LongshoreError("shutting-down", "transport", "the offloader was closed");
      for (const control of underWay.values()) control.abort(closed);
    },
  };
}
