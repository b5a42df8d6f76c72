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
import { deviceSpeed } from "../../decide/estimate/index.ts";
import { endCut, startCut } from "../../words/model/index.ts";
import { type AskedModel, entryOf, keyOf, newerOf, putTogether, stillKnown } from "./asked-model.ts";
import { type Heard, type KnownModel, quickestMs, replaced } from "../models/index.ts";
import { manyEndpoints, type EndpointStates, type Ran, ranOf } from "../endpoints/index.ts";
import { nothingKnown, tooSlow, orNoVersion } from "./nothing-known.ts";
import { nowhere } from "../steps/index.ts";

/** How knowledge of endpoints is kept. */
export interface UpkeepOptions {
  /** Offers of models in use are asked for again after this time, in milliseconds; default 5,000. */
  readonly refreshMs?: number;
  /** A model that nobody used for this long is not asked for any more, in milliseconds; default 60,000. */
  readonly idleMs?: number;
  /** How long the first use of a model waits for further endpoints once one is known that can run it, in milliseconds; default 300. */
  readonly firstWaitMs?: number;
  /** How long the first use of a model waits for the first endpoint that can run it, in milliseconds; default 10,000, at most the deadline. */
  readonly firstOfferMs?: number;
  /**
   * Endpoints that others use, too, are asked how busy they are: so often for each request on the whole, before its decision where
   * that hardly takes time, else after it; default 3.
   */
  readonly loadProbesPerRequest?: number;
  /** An endpoint that takes longer to say what it offers does not answer, in milliseconds; default 3,000. */
  readonly askMs?: number;
}

/** What `knowledgeOf` uses. */
export interface KnowledgeParts {
  readonly clock: Clock;
  readonly observer: Observer;
  /** What runs models on this device. */
  readonly local?: Endpoint;
  /** Checks whether models that came from elsewhere were replaced there. Never rejects. */
  readonly lookAgain?: () => Promise<void>;
  readonly upkeep?: UpkeepOptions;
}

/** What this endpoint knows of models: asked for off the path of requests, but for the first use of a model. */
export interface Knowledge extends Disposable {
  /** What is known now; undefined before the first use and for models that no endpoint knows. */
  known(model: string, version: string | undefined): KnownModel | undefined;
  /** The same; undefined also while the first use waits for what further endpoints say, so that other uses wait with it. */
  settled(model: string, version: string | undefined): KnownModel | undefined;
  /**
   * Notes the use of a model: its offers are kept fresh for a while. Who saves energy says when it begins and when it is over: no
   * question is sent before that, nor to who answered lately, since that keeps the radio up, and its answer may be in the way of another.
   */
  used(model: string, version: string | undefined, nowMs: number, saving?: "begins" | "over"): void;
  /**
   * What is known, after asking when nothing is. Waits for the first endpoint that can run the model, and a moment for the others. Throws
   * `unknown-model` (`unknown-version`, where there is another one) when all endpoints said that they do not have it, and `unreachable`
   * when one did not say in time, or there is none. `question`: another endpoint asks what there is here, and nothing is to be run.
   */
  learn(model: string, version: string | undefined, call: Call, question?: boolean): Promise<KnownModel>;
  /**
   * Asks again, in one round for all who wait, until that digest is not what is known; no longer than the call lasts. Where
   * another one is known elsewhere, it is looked whether what is here was replaced where it came from.
   */
  renewed(model: string, version: string | undefined, digest: string, call: Call): Promise<void>;
  /**
   * For a request that no endpoint known by now may answer: what is known of the same content once more endpoints have answered the first
   * questions about it. Undefined when none is left that might.
   */
  more(known: KnownModel, call: Call): Promise<KnownModel | undefined>;
  /** What is known of the same content by now, once endpoints that have just come have said what they have of it; undefined when that is nothing else. */
  newer(known: KnownModel, call: Call): Promise<KnownModel | undefined>;
  /** Asks every endpoint again about every model in use. */
  refresh(): Promise<void>;
  /** An endpoint refused that content: what it offered is forgotten, by whatever version it was asked for, until it is asked again. */
  refused(of: Ran, endpointState: EndpointId): void;
}

/** Endpoints that are asked at once about a model that nothing is known of yet. */
const mostAtOnce = 1024;
/** Very many endpoints are asked so much more rarely that no more than this many are asked in a second. */
const askedPerSecond = 200;
/** Who is left alone is asked after so many milliseconds, however long its pause, but for who counts each question as one more bad credential. */
const askedBackMs = 1000;
/** A timer of the platform may fire so much too early, in milliseconds: a wait that ended then ended at the deadline. */
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
  const device = deviceSpeed();
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

  /** What one endpoint says; rejects when it does not answer within `patienceMs`. */
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
        // Who makes no offers says only in describing it that it has another version by now.
        let knowledge = endpoint.info.offers ? known?.knowledge : undefined;
        let offers = knowledge ? await endpoint.offers(query, call) : [];
        // What it offers is not what it described: another content has taken the place of that.
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
      // What it offers counts once it has shown that its answers are right.
      if (description) {
        // What stands in for the model that is known runs as that, whatever it is called there.
        of = of && entry.known?.servedAt.includes(id) ? of : ranOf(description);
        await checks?.prove(endpointState, description, heard.offers, endpoints.downAtMs(endpointState, of));
      }
      // It may have gone meanwhile.
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
      // Late behind a request that is watched, or that others sent to a server which answers in its turn: the next round asks again.
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

  /** What few endpoints say is put together at once, what many say when several have spoken. */
  function digestSoon(entry: AskedModel): void {
    if (endpoints.all.size <= manyEndpoints) return digestOf(entry);
    entry.digesting ??= later(Math.max(leastDigestMs, endpoints.all.size / endpointsPerMs), () => {
      entry.digesting = undefined;
      digestOf(entry);
    });
  }

  /** An endpoint that failed is asked again when its pause is over, or sooner, so that it comes back without a request as its probe. */
  function askWhenBack(id: EndpointId, entry: AskedModel, of: Ran | undefined): void {
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
    // A large model takes long to read, and nobody else can say what is here.
    const heard = await askEndpoint(local, entry, undefined, path, Infinity);
    // How fast it is here is learned from every run: it is heard again only when another version has taken its place.
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
      if (leftMs <= 0) return;
      await entry.news.next((heard) => within(Promise.race([round, heard]), leftMs, abort));
    }
  }

  /** Waits until an endpoint is known that can run the model, or all have said that they cannot; at most `mostMs`. */
  async function firstOffer(
    entry: AskedModel,
    { deadlineMs, abort, path }: Call,
    mostMs: number,
  ): Promise<void> {
    const untilMs = Math.min(clock.nowMs() + mostMs, deadlineMs);
    for (;;) {
      const leftMs = untilMs - clock.nowMs();
      if (leftMs <= 0 || closed || runsNow(entry) || !mayCome(entry, path)) return;
      entry.usedAtMs = clock.nowMs();
      await entry.news.next((heard) => within(heard, leftMs, abort));
    }
  }

  /** Whether an endpoint that runs the model may still come: one has not said, or the directory has named none yet. */
  function mayCome(entry: AskedModel, path: Call["path"]): boolean {
    if (endpoints.all.size === 0) return endpoints.mayGrow;
    return nothingKnown(entry, endpoints, path, local !== undefined).reason === "unreachable";
  }

  /**
   * Asks endpoints, by default all. Those that the question has been through are asked afterwards and not waited for: two that know each
   * other do not ask in circles.
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

  /** Keeps offers of models in use fresh; stops by itself when none is in use. */
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

  /** What is known, unless endpoints have not yet had their moment to say what they offer. */
  function settled(entry: AskedModel | undefined): KnownModel | undefined {
    const known = stillKnown(entry, endpoints.all);
    return entry && clock.nowMs() < entry.newUntilMs ? undefined : known;
  }

  /** An endpoint that comes is asked about what is in use, so that it is used before the next round of questions. */
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
      // A question of another offloader may be part of a circle of questions: it does not wait for answers that may wait
      // for it, and gets what is known after a moment.
      const circular = question && entry.asking !== undefined && call.path.length > 0;
      const round = entry.asking ?? ask(entry, call.path);
      const leftMs = (): number => call.deadlineMs - clock.nowMs();
      let failure: unknown;
      await within(entry.localDone ?? round, leftMs(), call.abort).catch((thrown: unknown) => {
        // What is wrong here matters only when no other endpoint knows the model.
        if (call.abort.aborted) throw thrown;
        failure = thrown;
      });
      if (endpoints.all.size > 0) {
        if (circular) await within(round, Math.min(firstWaitMs, leftMs()), call.abort);
        else await heardOf(entry, round, call);
        // An endpoint that is very busy when it is first asked is given a second time: nobody else has the model.
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
      // What was known of what all have said that they have no more is nothing to plan with, unless who had it has left.
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
    async more(known, call) {
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
