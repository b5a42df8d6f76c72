import { type Call, type EndpointId, failureEvent, LongshoreError } from "../../words/base/index.ts";
import { deviceSpeed } from "../../decide/estimate/index.ts";
import type { Checks } from "../check/index.ts";
import { manyEndpoints, type EndpointStates, type ServedVersion, ranOf } from "../endpoints/index.ts";
import { hasNoRoute } from "../steps/index.ts";
import { type ModelInUse, mergeReports, validKnowledge } from "./model-in-use.ts";
import { tooSlow } from "./nothing-known.ts";
import type { Intervals, KnowledgeParts } from "./options.ts";
import type { Questions } from "./questions.ts";
import { runsNow } from "./runs-now.ts";

/** Endpoints polled at a time about a model that nothing is known of. */
const mostAtOnce = 1024;
/** Polls per second at most; with very many endpoints each is polled less often. */
const askedPerSecond = 200;
/** Poll a paused endpoint at least this often (ms), except after 401, where each poll counts as a failed login. */
const askedBackMs = 1000;
/** Poll an endpoint that is starting after this time first (ms), then after twice the time before: most are ready in less than a second. */
const askedStartingMs = 250;
/** The least interval at which the statements of all endpoints are merged, in milliseconds. */
const leastDigestMs = 50;
/** Endpoints per millisecond of interval: with more endpoints they are merged less often. */
const endpointsPerMs = 20;

/** Rounds of questions to all endpoints about the models in use, and the questions between rounds. */
export interface Rounds {
  /**
   * Polls endpoints, by default all. Endpoints on the path of the question are polled last and not awaited, so that two that know each
   * other do not wait in a circle.
   */
  ask(entry: ModelInUse, path: Call["path"], ids?: IterableIterator<EndpointId>): Promise<void>;
  askLocal(entry: ModelInUse, path: readonly EndpointId[]): Promise<void>;
  /** Polls an endpoint that misses servers behind it, again and again while requests wait for its news. */
  askSoon(id: EndpointId, entry: ModelInUse): void;
  /** Merges the reports of all endpoints about a model. */
  digest(entry: ModelInUse): void;
  /** Keeps offers of models in use fresh; stops by itself when none is in use. */
  keepFresh(): void;
  /** Time between rounds, longer with very many endpoints. */
  roundMs(): number;
}

/** Whether the last offers of an endpoint lacked some of a server behind it. */
const misses = (id: EndpointId, { heard }: ModelInUse): boolean => heard.get(id)?.missing !== undefined;

/** Starts without a poll. Endpoints that are added are polled about the models in use. */
export function roundsOf(
  parts: KnowledgeParts,
  { refreshMs, idleMs, firstWaitMs, askMs }: Intervals,
  entries: ReadonlyMap<string, ModelInUse>,
  endpoints: EndpointStates,
  questions: Questions,
  checks: Checks | undefined,
): Rounds {
  const { clock, local } = parts;
  const device = deviceSpeed({}, parts.beliefs?.speeds);
  parts.beliefs?.follow(() => ({ speeds: device.remember() }));
  const roundMs = (leastMs = refreshMs): number =>
    Math.max(leastMs, (endpoints.all.size * 1000) / askedPerSecond);
  let freshening: Disposable | undefined;

  const digestOf = (entry: ModelInUse): void => {
    const nowMs = clock.nowMs();
    mergeReports(entry, endpoints.all, device, nowMs);
    if (runsNow(entry, endpoints.all, local))
      entry.newUntilMs = Math.min(entry.newUntilMs, nowMs + firstWaitMs);
    entry.news.tell();
  };

  async function askOther(id: EndpointId, entry: ModelInUse, path: Call["path"], due = false): Promise<void> {
    const endpointState = endpoints.all.get(id);
    if (!endpointState || questions.closed) return;
    const again = hasNoRoute(entry.known) && tooSlow(entry.unsaid.get(id));
    let of = entry.known && ranOf(entry.known.description);
    const [beganMs, behind] = [clock.nowMs(), endpointState.queue.underWay > 0];
    if (beganMs < endpoints.pausedUntilMs(endpointState, of) && !again && !due)
      return askWhenBack(id, entry, of);
    try {
      const before = entry.heard.get(id);
      const known = before?.endpoint === endpointState.endpoint ? before : undefined;
      const heard = await questions.ask(endpointState.endpoint, entry, known, path, askMs);
      const description = heard.knowledge?.description ?? entry.known?.description;
      // Its offers count once it has passed its golden input.
      if (description) {
        // Content that stands in for the known model runs under that model's name.
        of = of && entry.known?.servedAt.includes(id) ? of : ranOf(description);
        await checks?.prove(endpointState, description, heard.offers, endpoints.downAtMs(endpointState, of));
      }
      // The endpoint may have left meanwhile.
      if (endpoints.all.get(id) !== endpointState || questions.closed) return;
      entry.heard.set(id, heard);
      endpointState.promised(heard.offers, clock.nowMs(), endpoints.all.size <= manyEndpoints);
      const cameBack = entry.unsaid.delete(id);
      endpointState.health.reached();
      if (cameBack) askAboutOthers(id, entry);
      const [offer] = heard.offers;
      if (offer?.path.length === 1 && offer.origin === "promised")
        endpointState.offered(offer.queueMs, clock.nowMs());
    } catch (thrown) {
      if (questions.closed) return;
      const error = LongshoreError.from(thrown, "resolve", `asking ${id} what it offers`);
      entry.unsaid.set(id, error);
      const atMs = clock.nowMs();
      parts.observer.record(failureEvent(error, { id: `ask-${id}`, model: entry.model }, atMs));
      // It was delayed by a request under a guard, or by requests of others at a server that answers in order: the next round polls again.
      const turns = entry.heard.has(id) && !endpointState.endpoint.info.offers;
      if ((behind || turns) && error.reason === "no-answer") return;
      endpoints.failed(endpointState, of, error, atMs, beganMs);
      askWhenBack(id, entry, of);
    } finally {
      endpointState.link.touched();
      endpoints.touched();
    }
    digestSoon(entry);
  }

  /** Asks an endpoint that has come back about the other models whose questions wait for the end of its pause. */
  function askAboutOthers(id: EndpointId, entry: ModelInUse): void {
    for (const other of entries.values()) {
      if (other !== entry && !other.heard.has(id) && other.due.delete(id)) void askOther(id, other, [], true);
    }
  }

  /** Answers of few endpoints are merged at once, those of many when several have arrived. */
  function digestSoon(entry: ModelInUse): void {
    if (endpoints.all.size <= manyEndpoints) return digestOf(entry);
    entry.digesting ??= questions.later(Math.max(leastDigestMs, endpoints.all.size / endpointsPerMs), () => {
      entry.digesting = undefined;
      digestOf(entry);
    });
  }

  /** A failed endpoint is polled when its pause ends, or sooner, so that it returns without a request as its probe. */
  function askWhenBack(id: EndpointId, entry: ModelInUse, of: ServedVersion | undefined, before = 0): void {
    const endpointState = endpoints.all.get(id);
    const nowMs = clock.nowMs();
    if (!endpointState || questions.closed || entry.due.has(id) || nowMs - entry.usedAtMs > idleMs) return;
    entry.due.add(id);
    const reason = entry.unsaid.get(id)?.reason;
    const leastMs =
      reason === "starting" || misses(id, entry)
        ? Math.min(askedBackMs, askedStartingMs * 2 ** before)
        : askedBackMs;
    const [backMs, soonMs] = [endpoints.pausedUntilMs(endpointState, of) - nowMs + 1, roundMs(leastMs)];
    const waits = backMs > 0 && (backMs < soonMs || reason === "unauthenticated");
    questions.later(waits ? backMs : soonMs, () => {
      void askOther(id, entry, [], true).then(() => {
        entry.due.delete(id);
        if (entry.unsaid.has(id) || (misses(id, entry) && entry.wanted.has(id)))
          askWhenBack(id, entry, of, before + 1);
      });
    });
  }

  const askSoon = (id: EndpointId, entry: ModelInUse): void =>
    askWhenBack(id, entry, entry.known && ranOf(entry.known.description));

  async function askLocal(entry: ModelInUse, path: readonly EndpointId[]): Promise<void> {
    if (!local) return;
    // A large model takes long to read, and only this endpoint knows what it has.
    const heard = await questions.ask(local, entry, undefined, path, Infinity);
    // Runs teach its speed here. It is polled again only after another version replaced it.
    if (heard.knowledge && heard.knowledge === entry.local?.knowledge) return;
    entry.local = heard;
    digestOf(entry);
  }

  /**
   * Polls endpoints, by default all. Endpoints on the path of the question are polled last and not awaited, so that two that know each
   * other do not wait in a circle.
   */
  function ask(entry: ModelInUse, path: Call["path"], ids = endpoints.all.keys()): Promise<void> {
    entry.askedAtMs = clock.nowMs();
    if (validKnowledge(entry, endpoints.all) === undefined) entry.newUntilMs = Infinity;
    entry.localDone = askLocal(entry, path);
    const askThem = async (): Promise<void> => {
      for (const id of ids) {
        if (!path.includes(id)) await askOther(id, entry, path);
        else questions.later(1, () => void askOther(id, entry, []));
      }
    };
    const at = Math.min(endpoints.all.size, entry.known ? manyEndpoints : mostAtOnce);
    const all = Promise.allSettled([entry.localDone, ...Array.from({ length: at }, askThem)]).then(() => {
      entry.asking = undefined;
      entry.newUntilMs = -Infinity;
      digestOf(entry);
    });
    entry.asking = all;
    return all;
  }

  /** Keeps the offers of models in use fresh. Stops when none is in use. */
  function keepFresh(): void {
    if (freshening || questions.closed || endpoints.all.size === 0) return;
    freshening = questions.later(roundMs(), () => {
      freshening = undefined;
      const nowMs = clock.nowMs();
      let inUse = false;
      for (const entry of entries.values()) {
        if (entry.saving || nowMs - entry.usedAtMs > idleMs) continue;
        inUse = true;
        if (!entry.asking && nowMs - entry.askedAtMs >= roundMs()) void ask(entry, []);
      }
      if (inUse) keepFresh();
    });
  }

  /** Polls a new endpoint about models in use, so that it is used before the next round. */
  endpoints.onAdded = (id) => {
    if (questions.closed) return;
    for (const entry of entries.values()) {
      if (clock.nowMs() - entry.usedAtMs <= idleMs) void entry.coming.track(askOther(id, entry, []));
    }
    keepFresh();
  };

  endpoints.onSettled = () => {
    for (const entry of entries.values()) entry.news.tell();
  };

  return { ask, askLocal, askSoon, digest: digestOf, keepFresh, roundMs: () => roundMs() };
}
