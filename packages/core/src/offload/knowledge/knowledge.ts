import { type Call, type EndpointId, waitAtMost } from "../../words/base/index.ts";
import type { Checks } from "../check/index.ts";
import type { EndpointStates, ServedVersion } from "../endpoints/index.ts";
import type { ModelReport, KnownModel } from "../models/index.ts";
import { type ModelInUse, versionKey, newerOf, validKnowledge } from "./model-in-use.ts";
import { FirstUse, settled } from "./first-use.ts";
import { intervalsOf, type KnowledgeParts } from "./options.ts";
import { Polls } from "./polls.ts";
import { roundsOf } from "./rounds.ts";

/** The knowledge of this endpoint about models. It is polled off the path of requests, except for the first use of a model. */
export interface Knowledge extends Disposable {
  /** The current knowledge; undefined before the first use and for models that no endpoint has. */
  known(model: string, version: string | undefined): KnownModel | undefined;
  /** The same; also undefined while the first use waits for further endpoints, so that other uses wait with it. */
  settled(model: string, version: string | undefined, nowMs: number): KnownModel | undefined;
  /**
   * Records the use of a model, whose offers are then kept fresh for a while. Energy-saving requests call it at their begin and end:
   * nothing is polled before the end, nor endpoints that answered recently, since polling keeps the radio awake and its answer may delay
   * another.
   */
  used(model: string, version: string | undefined, nowMs: number, saving?: "begins" | "over"): void;
  /**
   * The knowledge of a model, after polling if there is none. Waits for the first endpoint that can run the model, and a moment for the
   * others. Throws `unknown-model` (`unknown-version` if there is another version) if all endpoints answered that they do not have it, and
   * `unreachable` if one did not answer in time or there is none. `isPoll`: another endpoint polls this one, and nothing will run.
   */
  learn(model: string, version: string | undefined, call: Call, isPoll?: boolean): Promise<KnownModel>;
  /**
   * Polls again, in one round for all that wait, until the digest differs from this one; no longer than the call lasts. If another digest
   * is known elsewhere, checks whether the model here was replaced at its source.
   */
  renewed(model: string, version: string | undefined, digest: string, call: Call): Promise<void>;
  /**
   * For a request that no known endpoint may run: the knowledge of the same content once more endpoints have answered the first poll,
   * or one of the `awaited` has answered. If endpoints `mayJoin`, also once another endpoint of a directory that is settling has answered, or the
   * directory has settled. Undefined if no such endpoint is left.
   */
  more(
    known: KnownModel,
    call: Call,
    awaited: readonly EndpointId[],
    mayJoin: boolean,
  ): Promise<KnownModel | undefined>;
  /** The current knowledge of the same content, once new endpoints have answered; undefined if nothing changed. */
  newer(known: KnownModel, call: Call): Promise<KnownModel | undefined>;
  /**
   * For a request that rules keep from all endpoints: the knowledge of the same content after another round of polls, since servers
   * behind a gateway may have come, and one without the model may have loaded it. Undefined if there is neither, or if they were asked
   * just now.
   */
  polledAgain(known: KnownModel, call: Call): Promise<KnownModel | undefined>;
  /**
   * The knowledge of a model after the round of polls that is under way, or after a new round if the last is older than the time between
   * rounds. Waits no longer than the call lasts. Without a reason to `wait` for a round under way, and without a new round: undefined.
   */
  polled(
    model: string,
    version: string | undefined,
    call: Call,
    wait: boolean,
  ): Promise<KnownModel | undefined>;
  /** Polls every endpoint again about every model in use. */
  refresh(): Promise<void>;
  /** Records that an endpoint refused the content: its offers of it are forgotten, under every version name, until the next poll. */
  refused(of: ServedVersion, endpoint: EndpointId): void;
}

/** For denied requests endpoints are polled again at most this often, in milliseconds. */
const renewMs = 250;

/** Starts with nothing known. */
export function knowledgeOf(
  parts: KnowledgeParts,
  endpoints: EndpointStates,
  self: EndpointId,
  checks: Checks | undefined,
): Knowledge {
  const { clock } = parts;
  const intervals = intervalsOf(parts);
  const { idleMs, pollTimeoutMs: askMs } = intervals;
  const entries = new Map<string, ModelInUse>();
  const questions = new Polls(clock, self);
  const rounds = roundsOf(parts, intervals, entries, endpoints, questions, checks);
  const firstUse = new FirstUse(parts, intervals, entries, endpoints, questions, rounds);
  const within = (done: Promise<void>, waitMs: number, abort: AbortSignal): Promise<void> =>
    waitAtMost(done, waitMs, abort, clock, "resolve");

  /** Polls the endpoints that have not answered a request since. */
  function pollQuiet(entry: ModelInUse, sinceMs: number): void {
    const quiet = [...endpoints.all].filter(([, { record }]) => record.answeredAtMs < sinceMs);
    if (quiet.length > 0) void rounds.poll(entry, [], quiet.map(([id]) => id).values());
  }

  return {
    known: (model, version) => validKnowledge(entries.get(versionKey(model, version)), endpoints.all),
    settled: (model, version, nowMs) => settled(entries.get(versionKey(model, version)), endpoints, nowMs),
    used(model, version, nowMs, saving) {
      const entry = entries.get(versionKey(model, version));
      if (!entry) return;
      entry.usedAtMs = nowMs;
      entry.saving = saving !== undefined;
      if (saving === "begins") return;
      const dueMs = saving ? idleMs : rounds.roundMs();
      if (nowMs - entry.polledAtMs > dueMs && !entry.round)
        pollQuiet(entry, saving ? nowMs - dueMs : Infinity);
      rounds.keepFresh();
    },
    learn: (model, version, call, isPoll) => firstUse.learn(model, version, call, isPoll),
    async renewed(model, version, digest, call) {
      const entry = entries.get(versionKey(model, version));
      const stale = (): boolean => entry?.known?.description.digest === digest;
      const behind = (): boolean => stale() && entry?.known?.behind === true;
      const wait = (done: Promise<void>, mostMs = Infinity): Promise<void> =>
        within(done, Math.min(mostMs, call.deadlineMs - clock.nowMs()), call.abort);
      // The round under way may have begun before the content was replaced.
      if (entry?.round && stale()) await wait(entry.round);
      if (entry && stale() && !behind()) await wait(entry.round ?? rounds.poll(entry, []));
      if (!entry || !parts.lookAgain || !behind()) return;
      await wait(parts.lookAgain(), askMs);
      await wait(rounds.pollLocal(entry, []));
    },
    async more(known, call, awaited, mayJoin) {
      const { name, version, digest } = known.description;
      const same = ({ description: of }: KnownModel): boolean =>
        of.name === name && of.version === version && of.digest === digest;
      for (const entry of entries.values()) {
        const { round, known: now } = entry;
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
        const hasSaid = await firstUse.newsFrom(entry, awaited, call);
        if (hasSaid && entry.known !== known && same(entry.known)) return entry.known;
      }
      for (const entry of entries.values()) {
        if (!entry.known || !same(entry.known) || !mayJoin) continue;
        if ((await firstUse.newcomer(entry, call)) && same(entry.known)) return entry.known;
      }
      return undefined;
    },
    async polledAgain(known, call) {
      const { name, version, digest } = known.description;
      for (const entry of entries.values()) {
        const of = entry.known?.description;
        if (of?.name !== name || of.version !== version || of.digest !== digest) continue;
        const mayDiffer = ({ offers }: ModelReport): boolean =>
          offers.length === 0 || offers.some(({ path }) => path.length > 1);
        if (![...entry.reports.values()].some(mayDiffer)) continue;
        if (!entry.round && clock.nowMs() - entry.polledAtMs < renewMs) continue;
        const round = entry.round ?? rounds.poll(entry, []);
        await within(round, Math.min(intervals.firstWaitMs, call.deadlineMs - clock.nowMs()), call.abort);
        if (entry.known && entry.known !== known) return entry.known;
      }
      return undefined;
    },
    newer: (known, call) =>
      newerOf(entries.values(), known, (done) => within(done, call.deadlineMs - clock.nowMs(), call.abort)),
    async polled(model, version, call, wait) {
      const entry = entries.get(versionKey(model, version));
      const isOld = entry !== undefined && clock.nowMs() - entry.polledAtMs > rounds.roundMs();
      const round =
        (wait || isOld ? entry?.round : undefined) ?? (entry && isOld ? rounds.poll(entry, []) : undefined);
      if (!entry || !round) return undefined;
      await within(round, Math.min(askMs, call.deadlineMs - clock.nowMs()), call.abort);
      return validKnowledge(entry, endpoints.all);
    },
    async refresh() {
      await Promise.all(
        Array.from(entries.values(), async (entry) => {
          if (entry.round) await entry.round;
          await rounds.poll(entry, []);
        }),
      );
    },
    refused({ model, version, digest }, id) {
      for (const entry of entries.values()) {
        const of = entry.known?.description;
        if (of?.name !== model || of.version !== version || of.digest !== digest) continue;
        if (entry.reports.delete(id)) rounds.digest(entry);
      }
    },
    [Symbol.dispose]() {
      questions[Symbol.dispose]();
      for (const entry of entries.values()) entry.news.tell();
    },
  };
}
