import {
  type Call,
  checkFresh,
  type EndpointId,
  LongshoreError,
  type Reason,
} from "../../words/base/index.ts";
import { endCut, startCut } from "../../words/model/index.ts";
import { isInfeasible, type Leg, type Plan } from "../../decide/plan/index.ts";
import type { Account, EndpointInfo, StageTime } from "../../wire/endpoint/index.ts";
import { readLoadHeaders, readServerTiming } from "../../wire/oip/index.ts";
import { tookHeader } from "../../wire/protocol/index.ts";
import { newTally, type Tally } from "../account/index.ts";
import { endpointFor, type EndpointState } from "../endpoints/index.ts";
import type { KnownModel } from "../models/index.ts";
import { listModels } from "../probe/index.ts";
import {
  awaited,
  beginLeg,
  bookAnswer,
  bookBroken,
  bookLoss,
  createLoop,
  endFailedLeg,
  endLeg,
  forgetRefused,
  type Job,
  type Loop,
  noEndpoints,
  type OffloadParts,
  outlook,
  refusal,
  type Running,
} from "../race/index.ts";
import { jobWithout } from "./endpoint-job.ts";
import { Requests } from "./requests.ts";
import { type SilenceWatch, silenceWatch } from "./silence.ts";

/*
 * A picker chooses the endpoint of a request that someone else carries: a proxy, which sends the headers of the request and later reports
 * its outcome. The picker is the offloader's decision without its races. The proxy gets the endpoint of the plan, followed by the plan's
 * alternatives, and tries that list itself. A picker starts no second run. It records a request as the offloader records a leg, so it
 * learns queues, speed and health of endpoints in the same way.
 *
 * A decision costs the same with four endpoints and with ten thousand: nothing here visits all endpoints unless it refuses.
 */

/** A request with known headers. */
export interface PickRequest {
  readonly model: string;
  /** Default: chosen by the endpoint. */
  readonly version?: string;
  readonly variant?: string;
  /** Bytes of its body according to its headers; 0 if unknown. */
  readonly bytes: number;
  /** Endpoints that may be chosen. Default: all. Pass the same set for the same endpoints: what follows from it is kept. */
  readonly among?: ReadonlySet<EndpointId> | undefined;
  /** Sends the request even if its deadline will pass: the deadline is an objective and not a limit. Default false. */
  readonly evenLate?: boolean;
}

/** How a request ended, as seen by the proxy. */
export interface PickedReply {
  /** The HTTP status. */
  readonly status: number;
  /** Keyed by lower-case names. Headers about load and time are read. */
  readonly headers: Readonly<Record<string, string>>;
  /** The endpoint that answered, if it is known. Default: the first of the list. */
  readonly endpoint?: EndpointId;
  /** How long the endpoint took, in milliseconds, if the proxy reports a reply later. Default: until now. */
  readonly tookMs?: number;
}

/** Endpoints for one request. Call exactly one of the methods to end it; later calls do nothing. */
export interface Picked {
  /** The best first; at least one. */
  readonly endpoints: readonly EndpointInfo[];
  /** An endpoint answered, with any status. */
  answered(reply: PickedReply): void;
  /** No endpoint answered. `error` is recorded against the first one. */
  failed(error: LongshoreError): void;
  /** The client cancelled. */
  dropped(): void;
}

/** Parts of a picker, in addition to those of an offloader. */
export interface PickerParts extends OffloadParts {
  /** Maximum of endpoints in one list. Default 3. */
  readonly mostEndpoints?: number;
  /** Maximum of this picker's requests under way at one endpoint. Default: no limit. */
  readonly mostInFlight?: number;
  /** Endpoints that `mostInFlight` does not apply to. Default: none. */
  readonly isUnlimited?: (id: EndpointId) => boolean;
  /**
   * How long a request may wait for the first description of its model, in milliseconds. The proxy waits no longer for the picker than its
   * own timeout (Envoy's `message_timeout`), and reports no reason after that. Default 1,500.
   */
  readonly mostLearnMs?: number;
}

/** Chooses endpoints for requests that a proxy carries. */
export interface EndpointPicker {
  /**
   * Throws the reason of a refused plan: `policy-denied`, `no-endpoint`, `unknown-model`; `rejected` with `retryAfterMs` if endpoints are
   * only too busy.
   */
  pick(request: PickRequest, call: Call): Promise<Picked>;
  /**
   * Healthy endpoints, the least busy first, for requests without inputs: all of them, or those that have a model. Throws `unknown-model`;
   * empty if none is healthy.
   */
  well(
    among: ReadonlySet<EndpointId> | undefined,
    model: Pick<PickRequest, "model" | "version"> | undefined,
    call: Call,
  ): Promise<readonly EndpointInfo[]>;
  /** All endpoints that are known now. */
  readonly endpoints: readonly EndpointInfo[];
  /** Counts changes of `endpoints`. */
  readonly changes: number;
  /** Learns every model, so that no request waits for it. Never rejects; resolves to the number of models. */
  learn(call: Call): Promise<number>;
  /** Whether any endpoint answers now. */
  reaches(): Promise<boolean>;
  /** Requests under way. */
  readonly inFlight: number;
  /** Endpoints that get no request now: they failed, or refused requests for a while. */
  readonly paused: number;
  close(): Promise<void>;
}

/** Failure reason for an HTTP status of an endpoint; undefined for a healthy endpoint. */
const reasonsByStatus: ReadonlyMap<number, Reason> = new Map<number, Reason>([
  [404, "unknown-model"],
  [429, "rejected"],
  [500, "run-failed"],
  [502, "unreachable"],
  [503, "rejected"],
  [504, "no-answer"],
]);

/** Pause of an endpoint that reports full load without a retry time, and of clients where there is no endpoint, in milliseconds. */
const fullMs = 1000;

function retryAfterMs(headers: Readonly<Record<string, string>>): number | undefined {
  const text = headers["retry-after"];
  return text !== undefined && /^[0-9]{1,6}$/.test(text) ? Number(text) * 1000 : undefined;
}

/** Endpoints whose models are listed at the start. A model that only others have is learned with its first request. */
const mostListed = 64;

/** Makes a picker. */
export function createPicker(parts: PickerParts): EndpointPicker {
  return new LoopPicker(parts);
}

class LoopPicker implements EndpointPicker {
  readonly #parts: PickerParts;
  readonly #requests: Requests;
  readonly #silence: SilenceWatch;
  #inFlight = 0;
  /** Requests under way by endpoint; none where there is none. */
  readonly #inFlightAt = new Map<EndpointId, number>();
  /** Endpoints outside each set that requests chose from, as of `changes`. */
  #outside = new WeakMap<ReadonlySet<EndpointId>, ReadonlySet<EndpointId>>();
  #outsideOf = -1;

  constructor(parts: PickerParts) {
    this.#parts = parts;
    this.#requests = new Requests(createLoop(parts), parts.id ?? "picker", "admission");
    this.#silence = silenceWatch(parts.clock);
  }

  get #mostLearnMs(): number {
    return this.#parts.mostLearnMs ?? 1500;
  }

  get #loop(): Loop {
    return this.#requests.loop;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get paused(): number {
    const nowMs = this.#loop.clock.nowMs();
    let paused = 0;
    for (const { health } of this.#loop.endpoints.all.values())
      if (health.unavailable(nowMs) !== undefined) paused++;
    return paused;
  }

  get endpoints(): readonly EndpointInfo[] {
    return [...this.#loop.endpoints.all.values()].map(({ endpoint }) => endpoint.info);
  }

  get changes(): number {
    return this.#loop.endpoints.membership.changes;
  }

  async well(
    among: ReadonlySet<EndpointId> | undefined,
    model: Pick<PickRequest, "model" | "version"> | undefined,
    call: Call,
  ): Promise<readonly EndpointInfo[]> {
    this.#requests.refuseClosed();
    const known = model && (await this.#known(model.model, model.version, call, true));
    const nowMs = this.#loop.clock.nowMs();
    const has = (id: EndpointId): boolean => known === undefined || known.offersBy.has(id);
    return [...this.#loop.endpoints.all.values()]
      .filter(
        ({ endpoint: { info }, health }) =>
          has(info.id) && among?.has(info.id) !== false && !health.unavailable(nowMs),
      )
      .sort((one, other) => one.queue.waitMs(nowMs) - other.queue.waitMs(nowMs))
      .map(({ endpoint }) => endpoint.info);
  }

  async learn(call: Call): Promise<number> {
    if (this.#loop.endpoints.all.size === 0) return 0;
    const models = await listModels(this.#loop, call, mostListed);
    const names = new Set(models.map(({ name }) => name));
    await Promise.allSettled(
      [...names].map(async (name) => this.#requests.model(name, undefined, call, true)),
    );
    return names.size;
  }

  reaches(): Promise<boolean> {
    return this.#loop.health.reaches();
  }

  close(): Promise<void> {
    this.#silence[Symbol.dispose]();
    return this.#requests.close();
  }

  async pick(request: PickRequest, call: Call): Promise<Picked> {
    this.#requests.refuseClosed();
    const loop = this.#loop;
    checkFresh(call, loop.clock.nowMs());
    const { model, version } = request;
    const learnUntilMs = Math.min(call.deadlineMs, loop.clock.nowMs() + this.#mostLearnMs);
    let known = await this.#known(model, version, call, false);
    let job = this.#job(known, request, call);
    let plan: Plan;
    for (;;) {
      try {
        plan = this.#plan(job, request, loop.clock.nowMs());
        break;
      } catch (thrown) {
        const newer = await this.#newlyKnown(job, request, learnUntilMs, thrown);
        if (!newer) throw thrown;
        known = newer;
        job = this.#job(known, request, call);
      }
    }
    const leg = firstLeg(plan);
    const state = leg && endpointFor(leg.endpoint, known, loop.endpoints.all);
    if (!leg || !state) {
      throw new LongshoreError("no-endpoint", "plan", `the endpoints of ${model} have just left`);
    }
    const { mostEndpoints = 3 } = this.#parts;
    const ids = [leg.endpoint, ...(plan.alternatives ?? []).slice(0, mostEndpoints - 1)];
    const all = ids.flatMap((id) => loop.endpoints.all.get(id)?.endpoint.info ?? []);
    return this.#begin(job, plan, leg, state, all);
  }

  #job(known: KnownModel, { model, variant = "", bytes }: PickRequest, call: Call): Job {
    const { version, digest } = known.description;
    const segment = { model, version, digest, variant, from: startCut, to: endCut };
    const held = {
      cut: startCut,
      variant: undefined,
      features: { bytes },
      bytes,
      tensors: new Map(),
    } satisfies Job["held"];
    // A proxy sends a request to one endpoint, and to others only if that one does not take it.
    return { ...jobWithout(this.#loop, known, { segment }, call), held, whole: true, tells: "alternatives" };
  }

  /** Knowledge of a model. Throws `no-endpoint` with `retryAfterMs` if there is no endpoint, or none has described the model in time. */
  #known(
    model: string,
    version: string | undefined,
    call: Call,
    isPoll: boolean,
  ): KnownModel | Promise<KnownModel> {
    const none = (why: string): LongshoreError =>
      new LongshoreError("no-endpoint", "resolve", why, { retryAfterMs: fullMs });
    if (this.#loop.endpoints.all.size === 0) throw none("no endpoint is listed at this moment");
    const known = this.#requests.model(model, version, call, isPoll);
    if (!(known instanceof Promise)) return known;
    const { clock } = this.#loop;
    const mostLearnMs = this.#mostLearnMs;
    return new Promise((resolve, reject) => {
      const timer = clock.timer(mostLearnMs, () =>
        reject(none(`no endpoint has described ${model} within ${mostLearnMs} ms`)),
      );
      // Learning goes on after the timer has fired, for the requests to come.
      known.then(resolve, reject).finally(() => timer[Symbol.dispose]());
    });
  }

  /**
   * For a request that was refused: what is known once an endpoint has described the model that came just now, such as the pods of a new
   * version while those of the old one leave. Undefined if the request may go to none of these, or none answers in time.
   */
  async #newlyKnown(
    job: Job,
    { among }: PickRequest,
    untilMs: number,
    refused: unknown,
  ): Promise<KnownModel | undefined> {
    if (!LongshoreError.is(refused) || refused.reason === "rejected") return undefined;
    const exclude = new Set(among && this.#outsideOfSet(among));
    for (const [id, { reason }] of job.known.poll?.failures ?? []) if (reason !== "starting") exclude.add(id);
    const coming = awaited(this.#loop, job, exclude, false);
    if (coming.length === 0) return undefined;
    return this.#loop.knowledge.more(job.known, { ...job.call, deadlineMs: untilMs }, coming, false);
  }

  /** Endpoints that a request may not go to, and those among them that are only full. */
  #without(among: ReadonlySet<EndpointId> | undefined) {
    const exclude = among ? this.#outsideOfSet(among) : noEndpoints;
    const { mostInFlight, isUnlimited } = this.#parts;
    if (mostInFlight === undefined) return { exclude, without: exclude, full: 0 };
    const full = [...this.#inFlightAt].flatMap(([id, count]) =>
      count >= mostInFlight && !exclude.has(id) && isUnlimited?.(id) !== true ? [id] : [],
    );
    const without = full.length === 0 ? exclude : new Set([...exclude, ...full]);
    return { exclude, without, full: full.length };
  }

  #outsideOfSet(among: ReadonlySet<EndpointId>): ReadonlySet<EndpointId> {
    const {
      all,
      membership: { changes },
    } = this.#loop.endpoints;
    if (this.#outsideOf !== changes) this.#outside = new WeakMap();
    this.#outsideOf = changes;
    const found = this.#outside.get(among);
    if (found) return found;
    const outside = new Set([...all.keys()].filter((id) => !among.has(id)));
    this.#outside.set(among, outside);
    return outside;
  }

  /** Throws if no endpoint may take the request. */
  #plan(job: Job, { among, evenLate = false }: PickRequest, nowMs: number): Plan {
    const loop = this.#loop;
    const { held } = job;
    const { exclude, without, full } = this.#without(among);
    const first = loop.plan(job, held, without, nowMs);
    if (!isInfeasible(first) && !this.#isGone(firstLeg(first), job.known, nowMs)) {
      return this.#withLate(job, first, without, nowMs);
    }
    // A proxy would wait for an absent server, and its client would get the proxy's error instead of the reason.
    const gone = new Set(without);
    for (const [id, { health }] of loop.endpoints.all) {
      if (health.absent && health.unavailable(nowMs) !== undefined) gone.add(id);
    }
    for (const id of job.known.offersBy.keys())
      if (!endpointFor(id, job.known, loop.endpoints.all)) gone.add(id);
    let outcome = outlook(loop, job, nowMs, gone);
    if (isInfeasible(outcome) && evenLate) {
      outcome = outlook(loop, job, nowMs, gone, evenLate);
    }
    if (!isInfeasible(outcome)) return outcome;
    const told = gone.size > without.size ? loop.plan(job, held, without, nowMs) : outcome;
    if (isInfeasible(told)) outcome = told;
    // If endpoints are only busy, the client is told to retry.
    if (full > 0 && !isInfeasible(outlook(loop, job, nowMs, exclude))) {
      const text = `every endpoint of ${job.known.description.name} that may take the request has ${this.#parts.mostInFlight} requests of this picker`;
      throw new LongshoreError("rejected", "admission", text, { retryAfterMs: fullMs });
    }
    const error = refusal(loop, job, held, without, outcome, nowMs);
    if (outcome.filter !== "unavailable" || !this.#isBusy(job, exclude, nowMs)) throw error;
    throw new LongshoreError("rejected", "admission", error.message, {
      retryAfterMs: error.retryAfterMs ?? fullMs,
    });
  }

  /** Whether an endpoint is absent, or another one has come in its place that has not described the model. */
  #isGone(leg: Leg | undefined, known: KnownModel, nowMs: number): boolean {
    if (!leg) return false;
    const health = endpointFor(leg.endpoint, known, this.#loop.endpoints.all)?.health;
    return !health || (health.absent && health.unavailable(nowMs) !== undefined);
  }

  /** The plan with an alternative that would be late, if its deadline leaves it none. A late answer is better than none. */
  #withLate(job: Job, plan: Plan, without: ReadonlySet<EndpointId>, nowMs: number): Plan {
    const leg = firstLeg(plan);
    if (plan.alternatives?.length !== 0 || job.call.deadlineMs === Infinity || !leg) return plan;
    const others = new Set([...without, leg.endpoint]);
    const late = this.#loop.plan(job, job.held, others, nowMs, { evenLate: true });
    const other = isInfeasible(late) ? undefined : firstLeg(late);
    return other ? { ...plan, alternatives: [other.endpoint] } : plan;
  }

  /** Whether an endpoint of the model refuses requests now because it reported too many. */
  #isBusy({ known }: Job, exclude: ReadonlySet<EndpointId>, nowMs: number): boolean {
    return [...known.offersBy.keys()].some((id) => {
      const health = exclude.has(id) ? undefined : this.#loop.endpoints.all.get(id)?.health;
      return health !== undefined && !health.failing && health.unavailable(nowMs) !== undefined;
    });
  }

  #begin(job: Job, plan: Plan, leg: Leg, state: EndpointState, endpoints: readonly EndpointInfo[]): Picked {
    const loop = this.#loop;
    // A picker cannot cancel what a proxy sends.
    const running = beginLeg(loop, leg, state, { call: job.call, cancel: () => undefined });
    const tally = newTally();
    this.#inFlight++;
    this.#counted(leg.endpoint, 1);
    this.#silence.began(running);
    let over = false;
    const once = (end: (nowMs: number, wasStuck: boolean) => void, heard = false): void => {
      if (over) return;
      over = true;
      this.#inFlight--;
      this.#counted(leg.endpoint, -1);
      const wasStuck = this.#silence.ended(running, heard);
      end(loop.clock.nowMs(), wasStuck);
      loop.deferred.add(() => loop.probing.upkeep());
    };
    loop.probing.askLoads(plan);
    return {
      endpoints,
      answered: (reply) => {
        const heard = (reply.endpoint ?? leg.endpoint) === leg.endpoint;
        once((nowMs, wasStuck) => this.#answered(job, running, tally, reply, nowMs, wasStuck), heard);
      },
      failed: (error) => once((nowMs) => this.#broke(job, running, error, nowMs)),
      dropped: () =>
        once((nowMs) => bookLoss(loop, job, running, "the client gave up the request", tally, nowMs)),
    };
  }

  #counted(id: EndpointId, change: 1 | -1): void {
    const count = (this.#inFlightAt.get(id) ?? 0) + change;
    if (count > 0) this.#inFlightAt.set(id, count);
    else this.#inFlightAt.delete(id);
  }

  #answered(
    job: Job,
    begun: Running,
    tally: Tally,
    reply: PickedReply,
    nowMs: number,
    wasStuck: boolean,
  ): void {
    const loop = this.#loop;
    const { leg } = begun;
    const { endpoint: by = leg.endpoint, status, headers, tookMs } = reply;
    // Beliefs take in answers in the order in which they are reported, so the start moves and not the end.
    const startedMs = tookMs === undefined ? begun.startedMs : Math.max(begun.startedMs, nowMs - tookMs);
    const running = startedMs === begun.startedMs ? begun : { ...begun, startedMs };
    const load = readLoadHeaders(headers, nowMs);
    if (by !== leg.endpoint) {
      // The proxy tried the first endpoint before it went on.
      this.#broke(job, running, unreachable(leg.endpoint), nowMs);
      const other = loop.endpoints.all.get(by);
      if (load) other?.reports.load(load, nowMs, 0);
      other?.outcomes.answered(nowMs);
      return;
    }
    const reason = reasonsByStatus.get(status);
    if (reason !== undefined) {
      const retryMs = retryAfterMs(headers);
      const wait = retryMs === undefined ? {} : { retryAfterMs: retryMs };
      this.#broke(
        job,
        running,
        new LongshoreError(reason, "execute", `${by} answered ${status}`, wait),
        nowMs,
      );
      if (load) running.endpoint?.reports.load(load, nowMs, 0);
      return;
    }
    endLeg(loop, running.endpoint, nowMs);
    if (status >= 400) {
      // Errors of the request itself say nothing about its run time.
      if (load) running.endpoint?.reports.load(load, nowMs, 0);
      return;
    }
    if (wasStuck) {
      if (load) running.endpoint?.reports.load(load, nowMs, 0);
      running.endpoint?.outcomes.answered(nowMs);
      return;
    }
    const account = accountFrom(headers, running, nowMs - startedMs);
    const response = { outputs: new Map(), account, ...(load ? { load } : {}) };
    bookAnswer(loop, job, job.held, running, response, tally, nowMs);
  }

  #broke(job: Job, running: Running, error: LongshoreError, nowMs: number): void {
    const loop = this.#loop;
    endFailedLeg(loop, running, error.reason);
    bookBroken(loop, running, job.call, error, nowMs);
    forgetRefused(loop, job, [{ endpoint: running.leg.endpoint, error }]);
  }
}

/** The leg that a proxy sends. */
function firstLeg({ legs }: Plan): Leg | undefined {
  return legs.find(({ starts }) => starts.some(({ on }) => on === "begin"));
}

function unreachable(endpoint: EndpointId): LongshoreError {
  return new LongshoreError("unreachable", "transport", `${endpoint} did not take the request`, { endpoint });
}

/** Times from the headers of a reply. */
function accountFrom(
  headers: Readonly<Record<string, string>>,
  { leg, endpoint }: Running,
  tookMs: number,
): Account {
  const told = headers[tookHeader];
  const serverMs = told !== undefined && /^[0-9]{1,9}(\.[0-9]+)?$/.test(told) ? Number(told) : undefined;
  const away: StageTime =
    serverMs === undefined
      ? { stage: "wait", name: leg.endpoint, tookMs }
      : { stage: "network", name: leg.endpoint, tookMs: Math.max(0, tookMs - serverMs) };
  return {
    endpoint: leg.endpoint,
    zone: endpoint?.endpoint.info.zone ?? "unknown",
    segment: leg.segment,
    stages: [...readServerTiming(headers), away],
    sentBytes: 0,
    receivedBytes: 0,
    energy: { millijoules: 0, label: "estimated" },
    costMicros: 0,
    forwarded: [],
  };
}
