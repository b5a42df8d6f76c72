import {
  type Call,
  type Clock,
  type EndpointId,
  LongshoreError,
  waitAtMost,
} from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import type { EndpointStates } from "../endpoints/index.ts";
import { type ModelReport, type KnownModel, quickestMs } from "../models/index.ts";
import { hasNoRoute } from "../steps/index.ts";
import { type ModelInUse, entryOf, versionKey, validKnowledge } from "./model-in-use.ts";
import { nothingKnown, orNoVersion, tooSlow } from "./nothing-known.ts";
import type { Intervals } from "./options.ts";
import type { Polls } from "./polls.ts";
import type { Rounds } from "./rounds.ts";
import { runsNow } from "./runs-now.ts";

/** Timers of the platform may fire this much too early, in milliseconds: a wait that ended within this ended at the deadline. */
const earlyMs = 2;

/** The knowledge, unless the first use still waits for offers of further endpoints. */
export function settled(
  entry: ModelInUse | undefined,
  { all }: Pick<EndpointStates, "all">,
  nowMs: number,
): KnownModel | undefined {
  return entry && nowMs < entry.newUntilMs ? undefined : validKnowledge(entry, all);
}

/** The ways that an endpoint offers and misses, in a form that can be compared. */
function waysOf(heard: ModelReport | undefined): string | undefined {
  if (!heard) return undefined;
  const { offers, missing } = heard;
  return JSON.stringify([offers.map(({ path, zones, trust }) => [path, zones, trust]), missing]);
}

/** The first use of a model: nothing is known of it yet, so the request waits for the answers of endpoints. */
export class FirstUse {
  readonly #clock: Clock;
  readonly #local: Endpoint | undefined;
  readonly #intervals: Intervals;
  readonly #entries: Map<string, ModelInUse>;
  readonly #endpoints: Pick<EndpointStates, "all" | "membership">;
  readonly #questions: Polls;
  readonly #rounds: Rounds;

  constructor(
    { clock, local }: { readonly clock: Clock; readonly local?: Endpoint },
    intervals: Intervals,
    entries: Map<string, ModelInUse>,
    endpoints: Pick<EndpointStates, "all" | "membership">,
    questions: Polls,
    rounds: Rounds,
  ) {
    this.#clock = clock;
    this.#local = local;
    this.#intervals = intervals;
    this.#entries = entries;
    this.#endpoints = endpoints;
    this.#questions = questions;
    this.#rounds = rounds;
  }

  /** See `Knowledge.learn`. */
  async learn(model: string, version: string | undefined, call: Call, isPoll = false): Promise<KnownModel> {
    const beganMs = this.#clock.nowMs();
    const entry = entryOf(this.#entries, model, version, beganMs);
    entry.usedAtMs = beganMs;
    const now = isPoll
      ? validKnowledge(entry, this.#endpoints.all)
      : settled(entry, this.#endpoints, beganMs);
    if (now) return now;
    // A poll from another offloader may be part of a circle. It does not wait for answers that may wait for it, and gets the current
    // knowledge after a moment.
    const circular = isPoll && entry.round !== undefined && call.path.length > 0;
    const round = entry.round ?? this.#rounds.poll(entry, call.path);
    const leftMs = (): number => call.deadlineMs - this.#clock.nowMs();
    let failure: unknown;
    await this.#within(entry.localDone ?? round, leftMs(), call.abort).catch((thrown: unknown) => {
      // A failure here matters only if no other endpoint has the model.
      if (call.abort.aborted) throw thrown;
      failure = thrown;
    });
    if (this.#endpoints.all.size > 0) {
      if (circular) await this.#within(round, Math.min(this.#intervals.firstWaitMs, leftMs()), call.abort);
      else await this.#heardOf(entry, round, call);
      // An endpoint that is overloaded at its first poll is polled a second time, since no other has the model.
      if (
        hasNoRoute(entry.known) &&
        !circular &&
        leftMs() > 0 &&
        [...entry.failures.values()].some(tooSlow)
      ) {
        await this.#heardOf(entry, entry.round ?? this.#rounds.poll(entry, call.path), call);
      }
    }
    if (!circular && hasNoRoute(entry.known)) {
      await this.#firstOffer(
        entry,
        call,
        isPoll ? this.#intervals.firstWaitMs : beganMs + this.#intervals.firstOfferMs - this.#clock.nowMs(),
      );
    }
    if (!entry.known && leftMs() < earlyMs) {
      const { message } = nothingKnown(entry, this.#endpoints, call.path, this.#local !== undefined);
      const why = `the deadline passed before any endpoint described ${model}: ${message}`;
      throw new LongshoreError("deadline-exceeded", "resolve", why);
    }
    this.#rounds.keepFresh();
    // Knowledge of a model that all endpoints no longer have is useless, unless the endpoint that had it has left.
    const none = !entry.round && !entry.left && validKnowledge(entry, this.#endpoints.all) === undefined;
    if (entry.known && !none) return entry.known;
    if (circular && entry.round) {
      // Time cures that: the round of polls is under way. The asker may have much time left.
      const { firstWaitMs } = this.#intervals;
      const why = `no endpoint behind this one described ${model} within ${firstWaitMs} ms`;
      throw new LongshoreError("starting", "resolve", why, { retryAfterMs: firstWaitMs });
    }
    // Other requests may have more time, and wait for it.
    if (entry.news.waiting === 0) this.#entries.delete(versionKey(model, version));
    if (failure !== undefined) throw failure;
    const error = nothingKnown(entry, this.#endpoints, call.path, this.#local !== undefined);
    throw isPoll ? error : await orNoVersion(error, version, () => this.learn(model, undefined, call));
  }

  /**
   * Waits for the round of polls under way: until it is over, or the moment for further endpoints is. Leaves the request twice the
   * time that the quickest way known by then takes.
   */
  async #heardOf(entry: ModelInUse, round: Promise<void>, { deadlineMs, abort }: Call): Promise<void> {
    while (entry.round === round) {
      const waits = entry.newUntilMs < Infinity && entry.known ? 2 * quickestMs(entry.known) : 0;
      // Nothing has to be left of no deadline. The time of the quickest way may be Infinity, too, and their difference is no number.
      const latestMs = deadlineMs === Infinity ? Infinity : deadlineMs - waits;
      const leftMs = Math.min(entry.newUntilMs, latestMs) - this.#clock.nowMs();
      if (!(leftMs >= earlyMs)) return;
      await entry.news.next((heard) => this.#within(Promise.race([round, heard]), leftMs, abort));
    }
  }

  /** Waits until some endpoint is known to run the model, or all have answered that they cannot; at most `mostMs`. */
  async #firstOffer(entry: ModelInUse, { deadlineMs, abort, path }: Call, mostMs: number): Promise<void> {
    const untilMs = Math.min(this.#clock.nowMs() + mostMs, deadlineMs);
    for (;;) {
      const leftMs = untilMs - this.#clock.nowMs();
      if (
        !(leftMs >= earlyMs) ||
        this.#questions.closed ||
        runsNow(entry, this.#endpoints.all, this.#local) ||
        !this.#mayCome(entry, path)
      )
        return;
      entry.usedAtMs = this.#clock.nowMs();
      await entry.news.next((heard) => this.#within(heard, leftMs, abort));
    }
  }

  /**
   * Waits until one of these endpoints has answered a poll about the model, or answers otherwise than before; false if the deadline or,
   * without one, the time for a first offer comes first.
   */
  async newsFrom(entry: ModelInUse, ids: readonly EndpointId[], call: Call): Promise<boolean> {
    // The report of an endpoint that another one has replaced does not count.
    const reportOf = (id: EndpointId): ModelReport | undefined => {
      const report = entry.reports.get(id);
      return report?.endpoint === this.#endpoints.all.get(id)?.endpoint ? report : undefined;
    };
    const before = new Map(ids.map((id) => [id, waysOf(reportOf(id))]));
    const hasSaid = (): boolean =>
      [...before].some(([id, ways]) => reportOf(id) !== undefined && waysOf(reportOf(id)) !== ways);
    const wanted = ids.filter((id) => reportOf(id) !== undefined);
    for (const id of wanted) {
      entry.wanted.set(id, 1 + (entry.wanted.get(id) ?? 0));
      this.#rounds.pollSoon(id, entry);
    }
    try {
      await this.#newsUntil(entry, call, () => hasSaid() || !ids.some((id) => this.#endpoints.all.has(id)));
    } finally {
      for (const id of wanted) {
        const left = (entry.wanted.get(id) ?? 1) - 1;
        if (left > 0) entry.wanted.set(id, left);
        else entry.wanted.delete(id);
      }
    }
    return hasSaid();
  }

  /** The same of any endpoint that has not answered yet; true also once the directory has settled. */
  async newcomer(entry: ModelInUse, call: Call): Promise<boolean> {
    const before = new Set(entry.reports.keys());
    const hasCome = (): boolean => [...entry.reports.keys()].some((id) => !before.has(id));
    await this.#newsUntil(entry, call, () => hasCome() || !this.#endpoints.membership.settling);
    return hasCome() || !this.#endpoints.membership.settling;
  }

  /** Waits for news of a model until `isOver`, until the deadline or, without one, for the time of a first offer. */
  async #newsUntil(entry: ModelInUse, { deadlineMs, abort }: Call, isOver: () => boolean): Promise<void> {
    const untilMs =
      deadlineMs < Infinity ? deadlineMs - earlyMs : this.#clock.nowMs() + this.#intervals.firstOfferMs;
    for (;;) {
      const leftMs = untilMs - this.#clock.nowMs();
      if (isOver() || !(leftMs >= earlyMs) || this.#questions.closed) return;
      entry.usedAtMs = this.#clock.nowMs();
      await entry.news.next((heard) => this.#within(heard, leftMs, abort));
    }
  }

  /** Whether an endpoint that runs the model may still appear: one has not answered, or the directory lists none yet. */
  #mayCome(entry: ModelInUse, path: Call["path"]): boolean {
    if (this.#endpoints.all.size === 0) return this.#endpoints.membership.mayGrow;
    return nothingKnown(entry, this.#endpoints, path, this.#local !== undefined).retryable;
  }

  #within(done: Promise<void>, waitMs: number, abort: AbortSignal): Promise<void> {
    return waitAtMost(done, waitMs, abort, this.#clock, "resolve");
  }
}
