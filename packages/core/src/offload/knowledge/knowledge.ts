import {
  type Call,
  type Clock,
  type EndpointId,
  failureEvent,
  housekeepingCall,
  LongshoreError,
  type Observer,
  untilAborted,
  waitAtMost,
} from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import type { Checks } from "../check/index.ts";
import { type BeliefMemory, deviceSpeed } from "../../decide/estimate/index.ts";
import { endCut, startCut } from "../../words/model/index.ts";
import { type AskedModel, entryOf, keyOf, newerOf, putTogether, stillKnown } from "./asked-model.ts";
import { type Heard, type KnownModel, quickestMs, replaced } from "../models/index.ts";
import { manyEndpoints, type EndpointStates, type ServedVersion, ranOf } from "../endpoints/index.ts";
import { nothingKnown, tooSlow, orNoVersion } from "./nothing-known.ts";
import { nowhere } from "../steps/index.ts";

/** How knowledge of endpoints is kept. */
export interface UpkeepOptions {
  /** Interval at which offers of models in use are polled, in milliseconds; default 5,000. */
  readonly refreshMs?: number;
  /** A model without use for this long is no longer polled, in milliseconds; default 60,000. */
  readonly idleMs?: number;
  /** How long the first use of a model waits for further endpoints once one is known that can run it, in milliseconds; default 300. */
  readonly firstWaitMs?: number;
  /** How long the first use of a model waits for the first endpoint that can run it, in milliseconds; default 10,000, at most the deadline. */
  readonly firstOfferMs?: number;
  /**
   * Average load polls per request at endpoints that other clients use, too: before its decision if polling takes hardly any time,
   * otherwise after it; default 3.
   */
  readonly loadProbesPerRequest?: number;
  /** An endpoint that does not send its offers in this time counts as not answering, in milliseconds; default 3,000. */
  readonly askMs?: number;
}

/** What `knowledgeOf` uses. */
export interface KnowledgeParts {
  readonly clock: Clock;
  readonly observer: Observer;
  /** Runs models on this device. */
  readonly local?: Endpoint;
  /** Checks whether models that came from elsewhere were replaced there. Never rejects. */
  readonly lookAgain?: () => Promise<void>;
  readonly upkeep?: UpkeepOptions;
  /** What an earlier process learned of this device. Default: nothing. */
  readonly beliefs?: BeliefMemory;
}

/** What this endpoint knows of models. It is polled off the path of requests, except for the first use of a model. */
export interface Knowledge extends Disposable {
  /** The current knowledge; undefined before the first use and for models that no endpoint has. */
  known(model: string, version: string | undefined): KnownModel | undefined;
  /** The same; also undefined while the first use waits for further endpoints, so that other uses wait with it. */
  settled(model: string, version: string | undefined): KnownModel | undefined;
  /**
   * Records the use of a model, whose offers are then kept fresh for a while. Energy-saving requests call it at their begin and end:
   * nothing is polled before the end, nor endpoints that answered recently, since polling keeps the radio awake and its answer may delay
   * another.
   */
  used(model: string, version: string | undefined, nowMs: number, saving?: "begins" | "over"): void;
  /**
   * The knowledge of a model, after polling if there is none. Waits for the first endpoint that can run the model, and a moment for the
   * others. Throws `unknown-model` (`unknown-version` if there is another version) if all endpoints answered that they do not have it, and
   * `unreachable` if one did not answer in time or there is none. `question`: another endpoint polls this one, and nothing will run.
   */
  learn(model: string, version: string | undefined, call: Call, question?: boolean): Promise<KnownModel>;
  /**
   * Polls again, in one round for all that wait, until the digest differs from this one; no longer than the call lasts. If another digest
   * is known elsewhere, checks whether the model here was replaced at its source.
   */
  renewed(model: string, version: string | undefined, digest: string, call: Call): Promise<void>;
  /**
   * For a request that no known endpoint may run: the knowledge of the same content once more endpoints have answered the first poll,
   * or one of the `awaited` has answered. Undefined if no such endpoint is left.
   */
  more(known: KnownModel, call: Call, awaited: readonly EndpointId[]): Promise<KnownModel | undefined>;
  /** The current knowledge of the same content, once new endpoints have answered; undefined if nothing changed. */
  newer(known: KnownModel, call: Call): Promise<KnownModel | undefined>;
  /** Polls every endpoint again about every model in use. */
  refresh(): Promise<void>;
  /** Records that an endpoint refused the content: its offers of it are forgotten, under every version name, until the next poll. */
  refused(of: ServedVersion, endpointState: EndpointId): void;
}

/** Endpoints polled at a time about a model that nothing is known of. */
const mostAtOnce = 1024;
/** Polls per second at most; with very many endpoints each is polled less often. */
const askedPerSecond = 200;
/** Poll a paused endpoint at least this often (ms), except after 401, where each poll counts as a failed login. */
const askedBackMs = 1000;
/** Timers of the platform may fire this much too early, in milliseconds: a wait that ended within this ended at the deadline. */
const earlyMs = 2;
/** The least interval at which the statements of all endpoints are merged, in milliseconds. */
const leastDigestMs = 50;
/** Endpoints per millisecond of interval: with more endpoints they are merged less often. */
const endpointsPerMs = 20;

/** Starts with nothing known. */
export function knowledgeOf(
  parts: KnowledgeParts,
  endpoints: EndpointStates,
  self: EndpointId,
  checks: Checks | undefined,
): Knowledge {
  const { clock, local } = parts;
  const {
    refreshMs = 5000,
    idleMs = 60_000,
    firstWaitMs = 300,
    firstOfferMs = 10_000,
    askMs = 3000,
  } = parts.upkeep ?? {};
  const entries = new Map<string, AskedModel>();
  const device = deviceSpeed({}, parts.beliefs?.speeds);
  parts.beliefs?.follow(() => ({ speeds: device.remember() }));
  const roundMs = (leastMs = refreshMs): number =>
    Math.max(leastMs, (endpoints.all.size * 1000) / askedPerSecond);
  const asking = new Set<AbortController>();
  let closed = false;
  const timers = new Set<Disposable>();
  let freshening: Disposable | undefined;

  const later = (delayMs: number, fire: () => void): Disposable => {
    const timer = clock.timer(delayMs, () => {
      timers.delete(timer);
      fire();
    });
    timers.add(timer);
    return timer;
  };

  const within = (done: Promise<void>, waitMs: number, abort: AbortSignal): Promise<void> =>
    waitAtMost(done, waitMs, abort, clock, "resolve");

  const digestOf = (entry: AskedModel): void => {
    const nowMs = clock.nowMs();
    putTogether(entry, endpoints.all, device, nowMs);
    if (runsNow(entry)) entry.newUntilMs = Math.min(entry.newUntilMs, nowMs + firstWaitMs);
    entry.news.tell();
  };

  /** The answer of one endpoint. Rejects if it does not answer within `patienceMs`. */
  async function askEndpoint(
    endpoint: Endpoint,
    entry: AskedModel,
    known: Heard | undefined,
    path: readonly EndpointId[],
    patienceMs: number,
  ): Promise<Heard> {
    const { id } = endpoint.info;
    const control = new AbortController();
    const call: Call = {
      ...housekeepingCall(`ask-${id}`, control.signal),
      deadlineMs: clock.nowMs() + patienceMs,
      path: [...path, self],
    };
    const late = (): void =>
      control.abort(new LongshoreError("no-answer", "resolve", `${id} did not say what it offers`));
    const timer = patienceMs < Infinity ? later(patienceMs, late) : undefined;
    asking.add(control);
    try {
      const { model, version } = entry;
      const ask = async (): Promise<Heard> => {
        const query = version === undefined ? { model } : { model, version };
        // An endpoint without offers shows a new version only in its description.
        let knowledge = endpoint.info.offers ? known?.knowledge : undefined;
        let offers = knowledge ? await endpoint.offers(query, call) : [];
        // The offers do not match the description: the content was replaced meanwhile.
        if (!knowledge || replaced(knowledge, offers)) {
          knowledge = await endpoint.describe(model, version, call);
          offers = knowledge ? await endpoint.offers(query, call) : [];
        }
        return { endpoint, knowledge, offers };
      };
      return await untilAborted(ask(), control.signal, "resolve");
    } finally {
      asking.delete(control);
      timer?.[Symbol.dispose]();
      if (timer) timers.delete(timer);
    }
  }

  async function askOther(id: EndpointId, entry: AskedModel, path: Call["path"], due = false): Promise<void> {
    const endpointState = endpoints.all.get(id);
    if (!endpointState || closed) return;
    const again = nowhere(entry.known) && tooSlow(entry.unsaid.get(id));
    let of = entry.known && ranOf(entry.known.description);
    const [beganMs, behind] = [clock.nowMs(), endpointState.underWay > 0];
    if (beganMs < endpoints.pausedUntilMs(endpointState, of) && !again && !due)
      return askWhenBack(id, entry, of);
    try {
      const before = entry.heard.get(id);
      const known = before?.endpoint === endpointState.endpoint ? before : undefined;
      const heard = await askEndpoint(endpointState.endpoint, entry, known, path, askMs);
      const description = heard.knowledge?.description ?? entry.known?.description;
      // Its offers count once it has passed its golden input.
      if (description) {
        // Content that stands in for the known model runs under that model's name.
        of = of && entry.known?.servedAt.includes(id) ? of : ranOf(description);
        await checks?.prove(endpointState, description, heard.offers, endpoints.downAtMs(endpointState, of));
      }
      // The endpoint may have left meanwhile.
      if (endpoints.all.get(id) !== endpointState || closed) return;
      entry.heard.set(id, heard);
      endpointState.promised(heard.offers, clock.nowMs(), endpoints.all.size <= manyEndpoints);
      entry.unsaid.delete(id);
      endpointState.health.reached();
      const [offer] = heard.offers;
      if (offer?.path.length === 1 && offer.origin === "promised")
        endpointState.offered(offer.queueMs, clock.nowMs());
    } catch (thrown) {
      if (closed) return;
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
      endpointState.linkTouched();
      endpoints.touched();
    }
    digestSoon(entry);
  }

  /** Answers of few endpoints are merged at once, those of many when several have arrived. */
  function digestSoon(entry: AskedModel): void {
    if (endpoints.all.size <= manyEndpoints) return digestOf(entry);
    entry.digesting ??= later(Math.max(leastDigestMs, endpoints.all.size / endpointsPerMs), () => {
      entry.digesting = undefined;
      digestOf(entry);
    });
  }

  /** A failed endpoint is polled when its pause ends, or sooner, so that it returns without a request as its probe. */
  function askWhenBack(id: EndpointId, entry: AskedModel, of: ServedVersion | undefined): void {
    const endpointState = endpoints.all.get(id);
    const nowMs = clock.nowMs();
    if (!endpointState || closed || entry.due.has(id) || nowMs - entry.usedAtMs > idleMs) return;
    entry.due.add(id);
    const [backMs, soonMs] = [endpoints.pausedUntilMs(endpointState, of) - nowMs + 1, roundMs(askedBackMs)];
    const waits = backMs > 0 && (backMs < soonMs || entry.unsaid.get(id)?.reason === "unauthenticated");
    later(waits ? backMs : soonMs, () => {
      void askOther(id, entry, [], true).then(() => {
        entry.due.delete(id);
        if (entry.unsaid.has(id)) askWhenBack(id, entry, of);
      });
    });
  }

  async function askLocal(entry: AskedModel, path: readonly EndpointId[]): Promise<void> {
    if (!local) return;
    // A large model takes long to read, and only this endpoint knows what it has.
    const heard = await askEndpoint(local, entry, undefined, path, Infinity);
    // Runs teach its speed here. It is polled again only after another version replaced it.
    if (heard.knowledge && heard.knowledge === entry.local?.knowledge) return;
    entry.local = heard;
    digestOf(entry);
  }

  /** Whether nothing of the model would have to be fetched to run it here. */
  function complete({ description, whole: all }: KnownModel): boolean {
    const whole = { ...ranOf(description), variant: "", from: startCut, to: endCut };
    return all && (local?.capabilities?.lacks?.(whole) ?? 0) === 0;
  }

  /** Whether an endpoint is known that can run the model without fetching any of it here first. */
  function runsNow(entry: AskedModel): boolean {
    const known = stillKnown(entry, endpoints.all);
    return known !== undefined && (complete(known) || known.blocks.length > 0);
  }

  /**
   * Waits for the round of questions under way: until it is over, or the moment for further endpoints is. Leaves the request twice the
   * time that the quickest way known by then takes.
   */
  async function heardOf(
    entry: AskedModel,
    round: Promise<void>,
    { deadlineMs, abort }: Call,
  ): Promise<void> {
    while (entry.asking === round) {
      const waits = entry.newUntilMs < Infinity && entry.known ? 2 * quickestMs(entry.known) : 0;
      const leftMs = Math.min(entry.newUntilMs, deadlineMs - waits) - clock.nowMs();
      if (leftMs < earlyMs) return;
      await entry.news.next((heard) => within(Promise.race([round, heard]), leftMs, abort));
    }
  }

  /** Waits until some endpoint is known to run the model, or all have answered that they cannot; at most `mostMs`. */
  async function firstOffer(
    entry: AskedModel,
    { deadlineMs, abort, path }: Call,
    mostMs: number,
  ): Promise<void> {
    const untilMs = Math.min(clock.nowMs() + mostMs, deadlineMs);
    for (;;) {
      const leftMs = untilMs - clock.nowMs();
      if (leftMs < earlyMs || closed || runsNow(entry) || !mayCome(entry, path)) return;
      entry.usedAtMs = clock.nowMs();
      await entry.news.next((heard) => within(heard, leftMs, abort));
    }
  }

  /** Waits until one of these endpoints has answered a poll about the model; false if the deadline or, without one, the time for a first offer comes first. */
  async function heardFrom(
    entry: AskedModel,
    ids: readonly EndpointId[],
    { deadlineMs, abort }: Call,
  ): Promise<boolean> {
    const untilMs = deadlineMs < Infinity ? deadlineMs - earlyMs : clock.nowMs() + firstOfferMs;
    for (;;) {
      const leftMs = untilMs - clock.nowMs();
      if (ids.some((id) => entry.heard.has(id))) return true;
      if (leftMs <= 0 || closed || !ids.some((id) => endpoints.all.has(id))) return false;
      entry.usedAtMs = clock.nowMs();
      await entry.news.next((heard) => within(heard, leftMs, abort));
    }
  }

  /** Whether an endpoint that runs the model may still appear: one has not answered, or the directory lists none yet. */
  function mayCome(entry: AskedModel, path: Call["path"]): boolean {
    if (endpoints.all.size === 0) return endpoints.mayGrow;
    return nothingKnown(entry, endpoints, path, local !== undefined).retryable;
  }

  /**
   * Polls endpoints, by default all. Endpoints on the path of the question are polled last and not awaited, so that two that know each
   * other do not wait in a circle.
   */
  function ask(entry: AskedModel, path: Call["path"], ids = endpoints.all.keys()): Promise<void> {
    entry.askedAtMs = clock.nowMs();
    if (stillKnown(entry, endpoints.all) === undefined) entry.newUntilMs = Infinity;
    entry.localDone = askLocal(entry, path);
    const askThem = async (): Promise<void> => {
      for (const id of ids) {
        if (!path.includes(id)) await askOther(id, entry, path);
        else later(1, () => void askOther(id, entry, []));
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
    if (freshening || closed || endpoints.all.size === 0) return;
    freshening = later(roundMs(), () => {
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

  /** The knowledge, unless endpoints still have their moment to send offers. */
  function settled(entry: AskedModel | undefined): KnownModel | undefined {
    const known = stillKnown(entry, endpoints.all);
    return entry && clock.nowMs() < entry.newUntilMs ? undefined : known;
  }

  /** Polls a new endpoint about models in use, so that it is used before the next round. */
  endpoints.onAdded = (id) => {
    if (closed) return;
    for (const entry of entries.values()) {
      if (clock.nowMs() - entry.usedAtMs <= idleMs) void entry.coming.track(askOther(id, entry, []));
    }
    keepFresh();
  };

  return {
    known: (model, version) => stillKnown(entries.get(keyOf(model, version)), endpoints.all),
    settled: (model, version) => settled(entries.get(keyOf(model, version))),
    used(model, version, nowMs, saving) {
      const entry = entries.get(keyOf(model, version));
      if (!entry) return;
      entry.usedAtMs = nowMs;
      entry.saving = saving !== undefined;
      if (saving === "begins") return;
      const dueMs = saving ? idleMs : roundMs();
      const due = nowMs - entry.askedAtMs > dueMs && !entry.asking;
      const beforeMs = saving ? nowMs - dueMs : Infinity;
      const quiet = due
        ? [...endpoints.all].filter(([, endpointState]) => endpointState.answeredAtMs < beforeMs)
        : [];
      if (quiet.length > 0) void ask(entry, [], quiet.map(([id]) => id).values());
      if (!freshening) keepFresh();
    },
    async learn(model, version, call, question = false) {
      const entry = entryOf(entries, model, version, clock.nowMs());
      const beganMs = clock.nowMs();
      entry.usedAtMs = beganMs;
      const now = question ? stillKnown(entry, endpoints.all) : settled(entry);
      if (now) return now;
      // A poll from another offloader may be part of a circle. It does not wait for answers that may wait for it, and gets the current
      // knowledge after a moment.
      const circular = question && entry.asking !== undefined && call.path.length > 0;
      const round = entry.asking ?? ask(entry, call.path);
      const leftMs = (): number => call.deadlineMs - clock.nowMs();
      let failure: unknown;
      await within(entry.localDone ?? round, leftMs(), call.abort).catch((thrown: unknown) => {
        // A failure here matters only if no other endpoint has the model.
        if (call.abort.aborted) throw thrown;
        failure = thrown;
      });
      if (endpoints.all.size > 0) {
        if (circular) await within(round, Math.min(firstWaitMs, leftMs()), call.abort);
        else await heardOf(entry, round, call);
        // An endpoint that is overloaded at its first poll is polled a second time, since no other has the model.
        if (nowhere(entry.known) && !circular && leftMs() > 0 && [...entry.unsaid.values()].some(tooSlow)) {
          await heardOf(entry, entry.asking ?? ask(entry, call.path), call);
        }
      }
      if (!circular && nowhere(entry.known)) {
        await firstOffer(entry, call, question ? firstWaitMs : beganMs + firstOfferMs - clock.nowMs());
      }
      if (!entry.known && leftMs() < earlyMs) {
        const { message } = nothingKnown(entry, endpoints, call.path, local !== undefined);
        const why = `the deadline passed before any endpoint described ${model}: ${message}`;
        throw new LongshoreError("deadline-exceeded", "resolve", why);
      }
      keepFresh();
      // Knowledge of a model that all endpoints no longer have is useless, unless the endpoint that had it has left.
      const none = !entry.asking && !entry.left && stillKnown(entry, endpoints.all) === undefined;
      if (entry.known && !none) return entry.known;
      if (circular && entry.asking) {
        const why = `what there is of ${model} was not known ${firstWaitMs} ms after the question`;
        throw new LongshoreError("deadline-exceeded", "resolve", why);
      }
      // Other requests may have more time, and wait for it.
      if (entry.news.waiting === 0) entries.delete(keyOf(model, version));
      if (failure !== undefined) throw failure;
      const error = nothingKnown(entry, endpoints, call.path, local !== undefined);
      throw question ? error : await orNoVersion(error, version, () => this.learn(model, undefined, call));
    },
    async renewed(model, version, digest, call) {
      const entry = entries.get(keyOf(model, version));
      const stale = (): boolean => entry?.known?.description.digest === digest;
      const behind = (): boolean => stale() && entry?.known?.behind === true;
      const wait = (done: Promise<void>, mostMs = Infinity): Promise<void> =>
        within(done, Math.min(mostMs, call.deadlineMs - clock.nowMs()), call.abort);
      // The round under way may have begun before the content was replaced.
      if (entry?.asking && stale()) await wait(entry.asking);
      if (entry && stale() && !behind()) await wait(entry.asking ?? ask(entry, []));
      if (!entry || !parts.lookAgain || !behind()) return;
      await wait(parts.lookAgain(), askMs);
      await wait(askLocal(entry, []));
    },
    async more(known, call, awaited) {
      const { name, version, digest } = known.description;
      const same = ({ description: of }: KnownModel): boolean =>
        of.name === name && of.version === version && of.digest === digest;
      for (const entry of entries.values()) {
        const { asking: round, known: now } = entry;
        if (!now || !same(now) || entry.newUntilMs === -Infinity || !round) continue;
        if (now === known) {
          const wait = (heard: Promise<void>): Promise<void> =>
            within(Promise.race([round, heard]), call.deadlineMs - clock.nowMs(), call.abort);
          await entry.news.next(wait);
        }
        if (entry.known && entry.known !== known && same(entry.known)) return entry.known;
      }
      for (const entry of entries.values()) {
        if (!entry.known || !same(entry.known) || awaited.length === 0) continue;
        const hasSaid = await heardFrom(entry, awaited, call);
        if (hasSaid && entry.known !== known && same(entry.known)) return entry.known;
      }
      return undefined;
    },
    newer: (known, call) =>
      newerOf(entries.values(), known, (done) => within(done, call.deadlineMs - clock.nowMs(), call.abort)),
    async refresh() {
      await Promise.all(
        Array.from(entries.values(), async (entry) => {
          if (entry.asking) await entry.asking;
          await ask(entry, []);
        }),
      );
    },
    refused({ model, version, digest }, id) {
      for (const entry of entries.values()) {
        const of = entry.known?.description;
        if (of?.name !== model || of.version !== version || of.digest !== digest) continue;
        if (entry.heard.delete(id)) digestOf(entry);
      }
    },
    [Symbol.dispose]() {
      closed = true;
      const error = new LongshoreError("shutting-down", "resolve", "the offloader was closed");
      for (const control of asking) control.abort(error);
      for (const entry of entries.values()) entry.news.tell();
      for (const timer of timers) timer[Symbol.dispose]();
      timers.clear();
    },
  };
}
