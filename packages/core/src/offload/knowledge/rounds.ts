import { type Call, type EndpointId, failureEvent, LongshoreError } from "../../words/base/index.ts";
import { deviceSpeed } from "../../decide/estimate/index.ts";
import type { Checks } from "../check/index.ts";
import { manyEndpoints, type EndpointStates, type ServedVersion, ranOf } from "../endpoints/index.ts";
import { hasNoRoute } from "../steps/index.ts";
import { type ModelInUse, mergeReports, validKnowledge } from "./model-in-use.ts";
import { tooSlow } from "./nothing-known.ts";
import type { Intervals, KnowledgeParts } from "./options.ts";
import type { Polls } from "./polls.ts";
import { runsNow } from "./runs-now.ts";

/** Endpoints polled at a time about a model that nothing is known of. */
const mostAtOnce = 1024;
/** Polls per second at most; with very many endpoints each is polled less often. */
const pollsPerSecond = 200;
/** Poll a paused endpoint at least this often (ms), except after 401, where each poll counts as a failed login. */
const pausedPollMs = 1000;
/** Poll an endpoint that is starting after this time first (ms), then after twice the time before: most are ready in less than a second. */
const startingPollMs = 250;
/** The least interval at which the statements of all endpoints are merged, in milliseconds. */
const leastDigestMs = 50;
/** Endpoints per millisecond of interval: with more endpoints they are merged less often. */
const endpointsPerMs = 20;

/** Rounds of polls to all endpoints about the models in use, and the polls between rounds. */
export interface Rounds {
  /**
   * Polls endpoints, by default all. Endpoints on the path of the poll are polled last and not awaited, so that two that know each
   * other do not wait in a circle.
   */
  poll(entry: ModelInUse, path: Call["path"], ids?: IterableIterator<EndpointId>): Promise<void>;
  pollLocal(entry: ModelInUse, path: readonly EndpointId[]): Promise<void>;
  /** Polls an endpoint that misses servers behind it, again and again while requests wait for its news. */
  pollSoon(id: EndpointId, entry: ModelInUse): void;
  /** Merges the reports of all endpoints about a model. */
  digest(entry: ModelInUse): void;
  /** Keeps offers of models in use fresh; stops by itself when none is in use. */
  keepFresh(): void;
  /** Time between rounds, longer with very many endpoints. */
  roundMs(): number;
}

/** Whether the last offers of an endpoint lacked some of a server behind it. */
const misses = (id: EndpointId, { reports: heard }: ModelInUse): boolean =>
  heard.get(id)?.missing !== undefined;

/** Starts without a poll. Endpoints that are added are polled about the models in use. */
export function roundsOf(
  parts: KnowledgeParts,
  { refreshMs, idleMs, firstWaitMs, pollTimeoutMs: askMs }: Intervals,
  entries: ReadonlyMap<string, ModelInUse>,
  endpoints: EndpointStates,
  polls: Polls,
  checks: Checks | undefined,
): Rounds {
  const { clock, local } = parts;
  const device = deviceSpeed({}, parts.beliefs?.speeds);
  parts.beliefs?.follow(() => ({ speeds: device.remember() }));
  const roundMs = (leastMs = refreshMs): number =>
    Math.max(leastMs, (endpoints.all.size * 1000) / pollsPerSecond);
  let freshening: Disposable | undefined;

  const digestOf = (entry: ModelInUse): void => {
    const nowMs = clock.nowMs();
    mergeReports(entry, endpoints.all, device, nowMs);
    if (runsNow(entry, endpoints.all, local))
      entry.newUntilMs = Math.min(entry.newUntilMs, nowMs + firstWaitMs);
    entry.news.tell();
  };

  async function pollOther(
    id: EndpointId,
    entry: ModelInUse,
    path: Call["path"],
    due = false,
  ): Promise<void> {
    const endpointState = endpoints.all.get(id);
    if (!endpointState || polls.closed) return;
    const again = hasNoRoute(entry.known) && tooSlow(entry.failures.get(id));
    let of = entry.known && ranOf(entry.known.description);
    const [beganMs, behind] = [clock.nowMs(), endpointState.queue.underWay > 0];
    if (beganMs < endpoints.runs.pausedUntilMs(endpointState, of) && !again && !due)
      return pollWhenBack(id, entry, of);
    try {
      const before = entry.reports.get(id);
      const known = before?.endpoint === endpointState.endpoint ? before : undefined;
      const heard = await polls.report(endpointState.endpoint, entry, known, path, askMs);
      const description = heard.knowledge?.description ?? entry.known?.description;
      // Its offers count once it has passed its golden input.
      if (description) {
        // Content that stands in for the known model runs under that model's name.
        of = of && entry.known?.servedAt.includes(id) ? of : ranOf(description);
        await checks?.prove(
          endpointState,
          description,
          heard.offers,
          endpoints.runs.downAtMs(endpointState, of),
        );
      }
      // The endpoint may have left meanwhile.
      if (endpoints.all.get(id) !== endpointState || polls.closed) return;
      entry.reports.set(id, heard);
      endpointState.reports.offers(heard.offers, clock.nowMs(), endpoints.all.size <= manyEndpoints);
      const cameBack = entry.failures.delete(id);
      endpointState.health.reached();
      if (cameBack) pollAboutOthers(id, entry);
      const [offer] = heard.offers;
      if (offer?.path.length === 1 && offer.origin === "promised")
        endpointState.reports.queue(offer.queueMs, clock.nowMs());
    } catch (thrown) {
      if (polls.closed) return;
      const error = LongshoreError.from(thrown, "resolve", `asking ${id} what it offers`);
      entry.failures.set(id, error);
      const atMs = clock.nowMs();
      parts.observer.record(failureEvent(error, { id: `ask-${id}`, model: entry.model }, atMs));
      // It was delayed by a request under a guard, or by requests of others at a server that answers in order: the next round polls again.
      const turns = entry.reports.has(id) && !endpointState.endpoint.info.offers;
      if ((behind || turns) && error.reason === "no-answer") return;
      endpoints.runs.failed(endpointState, of, error, atMs, beganMs);
      pollWhenBack(id, entry, of);
    } finally {
      endpointState.link.touched();
      endpoints.tables.touched();
    }
    digestSoon(entry);
  }

  /** Asks an endpoint that has come back about the other models whose questions wait for the end of its pause. */
  function pollAboutOthers(id: EndpointId, entry: ModelInUse): void {
    for (const other of entries.values()) {
      if (other !== entry && !other.reports.has(id) && other.due.delete(id))
        void pollOther(id, other, [], true);
    }
  }

  /** Answers of few endpoints are merged at once, those of many when several have arrived. */
  function digestSoon(entry: ModelInUse): void {
    if (endpoints.all.size <= manyEndpoints) return digestOf(entry);
    entry.digesting ??= polls.later(Math.max(leastDigestMs, endpoints.all.size / endpointsPerMs), () => {
      entry.digesting = undefined;
      digestOf(entry);
    });
  }

  /** A failed endpoint is polled when its pause ends, or sooner, so that it returns without a request as its probe. */
  function pollWhenBack(id: EndpointId, entry: ModelInUse, of: ServedVersion | undefined, before = 0): void {
    const endpointState = endpoints.all.get(id);
    const nowMs = clock.nowMs();
    if (!endpointState || polls.closed || entry.due.has(id) || nowMs - entry.usedAtMs > idleMs) return;
    entry.due.add(id);
    const reason = entry.failures.get(id)?.reason;
    const leastMs =
      reason === "starting" || misses(id, entry)
        ? Math.min(pausedPollMs, startingPollMs * 2 ** before)
        : pausedPollMs;
    const [backMs, soonMs] = [endpoints.runs.pausedUntilMs(endpointState, of) - nowMs + 1, roundMs(leastMs)];
    const waits = backMs > 0 && (backMs < soonMs || reason === "unauthenticated");
    polls.later(waits ? backMs : soonMs, () => {
      void pollOther(id, entry, [], true).then(() => {
        entry.due.delete(id);
        if (entry.failures.has(id) || (misses(id, entry) && entry.wanted.has(id)))
          pollWhenBack(id, entry, of, before + 1);
      });
    });
  }

  const askSoon = (id: EndpointId, entry: ModelInUse): void =>
    pollWhenBack(id, entry, entry.known && ranOf(entry.known.description));

  async function askLocal(entry: ModelInUse, path: readonly EndpointId[]): Promise<void> {
    if (!local) return;
    // A large model takes long to read, and only this endpoint knows what it has.
    const heard = await polls.report(local, entry, undefined, path, Infinity);
    // Runs teach its speed here. It is polled again only after another version replaced it.
    if (heard.knowledge && heard.knowledge === entry.local?.knowledge) return;
    entry.local = heard;
    digestOf(entry);
  }

  /**
   * Polls endpoints, by default all. Endpoints on the path of the poll are polled last and not awaited, so that two that know each
   * other do not wait in a circle.
   */
  function ask(entry: ModelInUse, path: Call["path"], ids = endpoints.all.keys()): Promise<void> {
    entry.polledAtMs = clock.nowMs();
    if (validKnowledge(entry, endpoints.all) === undefined) entry.newUntilMs = Infinity;
    entry.localDone = askLocal(entry, path);
    const askThem = async (): Promise<void> => {
      for (const id of ids) {
        if (!path.includes(id)) await pollOther(id, entry, path);
        else polls.later(1, () => void pollOther(id, entry, []));
      }
    };
    const at = Math.min(endpoints.all.size, entry.known ? manyEndpoints : mostAtOnce);
    const all = Promise.allSettled([entry.localDone, ...Array.from({ length: at }, askThem)]).then(() => {
      entry.round = undefined;
      entry.newUntilMs = -Infinity;
      digestOf(entry);
    });
    entry.round = all;
    return all;
  }

  /** Keeps the offers of models in use fresh. Stops when none is in use. */
  function keepFresh(): void {
    if (freshening || polls.closed || endpoints.all.size === 0) return;
    freshening = polls.later(roundMs(), () => {
      freshening = undefined;
      const nowMs = clock.nowMs();
      let inUse = false;
      for (const entry of entries.values()) {
        if (entry.saving || nowMs - entry.usedAtMs > idleMs) continue;
        inUse = true;
        if (!entry.round && nowMs - entry.polledAtMs >= roundMs()) void ask(entry, []);
      }
      if (inUse) keepFresh();
    });
  }

  /** Polls a new endpoint about models in use, so that it is used before the next round. */
  endpoints.membership.onAdded = (id) => {
    if (polls.closed) return;
    for (const entry of entries.values()) {
      if (clock.nowMs() - entry.usedAtMs <= idleMs) void entry.coming.track(pollOther(id, entry, []));
    }
    keepFresh();
  };

  endpoints.membership.onSettled = () => {
    for (const entry of entries.values()) entry.news.tell();
  };

  return {
    poll: ask,
    pollLocal: askLocal,
    pollSoon: askSoon,
    digest: digestOf,
    keepFresh,
    roundMs: () => roundMs(),
  };
}
