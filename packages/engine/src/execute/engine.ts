import {
  type Call,
  type Cut,
  type CutId,
  type Endpoint,
  type EndpointCapabilities,
  type EndpointInfo,
  endCut,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type LoadReport,
  type ModelKnowledge,
  type Offer,
  type OfferQuery,
  type Segment,
  startCut,
} from "@longshore/core";
import { type EndingCall, failureEvent, pastDeadline, untilDeadline } from "@longshore/core/internal";
import {
  type LoadedVersion,
  type FileOverride,
  modelRepository,
  type ModelSource,
} from "../repository/index.ts";
import { sequenceStore } from "../sequence/index.ts";
import {
  cutAt,
  elementBudget,
  type InnerCuts,
  innerCuts,
  pipelineAdmission,
  planCache,
  positions,
} from "../run/index.ts";
import { earlyAdmission } from "./early-admission.ts";
import { defaultLimits, type EngineLimits, type EngineParts } from "./engine-parts.ts";
import { expectations } from "./expectations.ts";
import { type GraphPool, graphPool, leastBatch, rateLimiter, unaskedBatching } from "../schedule/index.ts";
import type { IndexEntry } from "./model-index.ts";
import { modelLife } from "./model-life.ts";
import { makeOffers, servedHere } from "./offers.ts";
import { refuseConfirmed, refusePast, refuseRules } from "./request-call.ts";
import { type Artifact, providersInOrder, onProcessor } from "../runtime/index.ts";
import { serveAnswers } from "./serve-answers.ts";
import { versionKnowledge } from "./assumed-profile.ts";
import { leaseAll } from "./grant-request.ts";
import { graphsOf } from "./graphs-of.ts";
import { checkDigest, reportFor, type ServeParts, serveRequest } from "./serve-request.ts";
import { speeds } from "./speed.ts";
import { programOf } from "./variants.ts";

/**
 * Runs models and pipelines here. In a request's segment an empty version means the latest, an empty variant the default
 * of this endpoint, and an empty digest whatever content is here.
 */
export interface Engine extends Endpoint {
  /** `lacks` is there if the model source can tell. */
  readonly capabilities: EngineCapabilities;
  /** Every version in the store, or of one model there, and what became of it. */
  index(model?: string): Promise<readonly IndexEntry[]>;
  /** Models that the steps of this one name. Throws `unknown-model`, `invalid-configuration`. */
  uses(model: string): Promise<readonly string[]>;
  /**
   * Reads a model again and loads the instances of its default variant, then serves it instead of what was served before;
   * requests under way finish on the old one. Without a version: all that the model's policy serves. If a version cannot be
   * loaded, its predecessor stays and the error is thrown at the end.
   */
  load(model: string, version: string | undefined, call: Call, override?: FileOverride): Promise<void>;
  /**
   * Refuses new requests for a model, waits for those under way, and frees it until the next `load`; with `dependents` also
   * the models that it is made of, or those of them that may go.
   */
  unload(model: string, call: Call, dependents?: boolean | ((model: string) => boolean)): Promise<void>;
  /** The configuration that a version is served with, in the JSON of Triton's `ModelConfig`. */
  written(model: string, version: string, call: Call): Promise<LoadedVersion["written"]>;
  /** All legal cuts of a variant in order, `start` and `end` included, with what crosses there. */
  cuts(
    model: string,
    version: string | undefined,
    variant: string | undefined,
    call: Call,
  ): Promise<readonly Cut[]>;
  /** The part of a graph model between two cuts as a model file; `unsupported` for pipelines, which are several. */
  artifact(segment: Segment, call: Call): Promise<Artifact>;
  loadReport(): LoadReport;
  /** Refuses new requests (`shutting-down`) and resolves when those under way are through. Idempotent. */
  drain(): Promise<void>;
}

/** The capabilities of every engine. */
type EngineCapabilities = EndpointCapabilities &
  Required<
    Pick<
      EndpointCapabilities,
      "known" | "loaded" | "loadMs" | "admit" | "prepare" | "inferStream" | "forgetsInputs"
    >
  >;

/** Makes an engine. Nothing is read or loaded before the first request for it. */
export function createEngine(parts: EngineParts): Engine {
  return new EngineHere(parts);
}

class EngineHere implements Engine {
  readonly info: EndpointInfo;
  readonly capabilities: EngineCapabilities;
  readonly #parts: EngineParts;
  readonly #limits: EngineLimits;
  readonly #pool: GraphPool;
  readonly #inner: InnerCuts;
  readonly #serve: ServeParts;
  readonly #knowledge = new WeakMap<LoadedVersion, ModelKnowledge>();
  #inFlight = 0;
  #draining = false;
  #quiet: (() => void)[] = [];
  #closed: Promise<void> | undefined;

  constructor(parts: EngineParts) {
    const { info, clock, observer, source, lane, random } = parts;
    this.info = info;
    this.#parts = parts;
    this.#limits = { ...defaultLimits, ...parts.limits };
    this.#pool = graphPool({
      ...parts,
      limits: this.#limits,
      limiter: parts.resources && rateLimiter(parts.resources),
      unasked: parts.unaskedBatching && unaskedBatching({ ...parts, ...parts.unaskedBatching }),
      ending: (scheduler) => this.#serve.earlyAdmission.ended(scheduler),
    });
    this.#inner = innerCuts(source);
    const lacks = source.lacks?.bind(source);
    this.capabilities = {
      known: (model, version) => this.#known(model, version),
      loaded: (segment) => this.#loaded(segment),
      loadMs: (segment) => this.#loadMs(segment),
      admit: (segment, call, leastAgreementRatio) => this.#admitted(segment, call, leastAgreementRatio),
      prepare: (segment, call) => this.#prepare(segment, call),
      inferStream: (request, call) => this.#inferStream(request, call),
      sequence: ({ model, digest, id }, call) =>
        this.#serve.sequences.standing({ tenant: call.tenant, model, digest, id }, call),
      // Runs have copied or moved their inputs when they begin, and results never share memory with them.
      forgetsInputs: true,
      ...(lacks ? { lacks: (segment) => this.#lacks(segment, lacks) } : {}),
    };
    const choosing = parts.runtimes.filter(({ providers }) => providers !== undefined);
    const tells = choosing.length > 0 && choosing.every(({ known }) => known !== undefined);
    const repository = modelRepository({
      ...parts,
      ...(tells ? { knownProviders: choosing.flatMap(({ known = [] }) => known) } : {}),
      defaultInstances: this.#limits.defaultInstances,
      firstProvider: (listed) => {
        const own = parts.runtimes.find(({ providers }) => providers !== undefined);
        return own && providersInOrder(listed ?? own.providers ?? [], own.slowHere).order[0];
      },
      accelerators: parts.runtimes.flatMap(({ providers = [] }) =>
        providers.filter((one) => !onProcessor(one)),
      ),
    });
    const admission = { info, expectations: expectations(), clock, random };
    this.#serve = {
      ...admission,
      earlyAdmission: earlyAdmission(admission),
      pool: this.#pool,
      life: modelLife({
        repository,
        pool: this.#pool,
        clock,
        observer,
        lane,
        explicit: parts.explicit ?? false,
        ...(lacks ? { lacks } : {}),
        defaultProgram: ({ description, programs }) =>
          programs.get(description.variants.find((variant) => servedHere(variant, info))?.name ?? ""),
      }),
      plans: planCache(this.#inner),
      sequences: sequenceStore(clock, {
        maxLive: this.#limits.maxSequences,
        maxLivePerTenant: this.#limits.maxSequencesPerTenant,
        maxStateBytes: this.#limits.maxStateBytes,
      }),
      stateKey: parts.stateKey,
      answers: parts.answers,
      millijoulesPerMs: parts.millijoulesPerMs,
      speeds: speeds(clock),
      lane,
      transforms: parts.transforms,
      pipelines: pipelineAdmission(this.#limits.maxPipelineBytes),
      elements: elementBudget(this.#limits.maxElements),
      observer,
      inFlight: () => this.#inFlight,
    };
  }

  async describe(
    model: string,
    version: string | undefined,
    call: Call,
  ): Promise<ModelKnowledge | undefined> {
    try {
      using lease = await this.#serve.life.acquire(model, version, call);
      return this.#versionKnowledge(lease.loaded);
    } catch (thrown) {
      if (
        LongshoreError.is(thrown) &&
        (thrown.reason === "unknown-model" || thrown.reason === "unknown-version")
      ) {
        return undefined;
      }
      throw thrown;
    }
  }

  #known(model: string, version: string | undefined): ModelKnowledge | undefined {
    const loaded = this.#serve.life.known(model, version);
    return loaded && this.#versionKnowledge(loaded);
  }

  /** One object for each version, so that holders can compare by identity. */
  #versionKnowledge(loaded: LoadedVersion): ModelKnowledge {
    const known = this.#knowledge.get(loaded) ?? versionKnowledge(loaded);
    this.#knowledge.set(loaded, known);
    return known;
  }

  async offers(query: OfferQuery, call: Call): Promise<readonly Offer[]> {
    if (this.#draining) return [];
    using lease = await this.#serve.life.acquire(query.model, query.version, call);
    const { loaded } = lease;
    const offers = await makeOffers(loaded, query, {
      info: this.info,
      speeds: this.#serve.speeds,
      nowMs: this.#parts.clock.nowMs(),
      queueMs: (variant, from) => this.#queueMs(loaded, variant, from, call),
      loadMs: (segment) => this.#loadMs(segment),
    });
    const { lacks } = this.capabilities;
    return lacks ? offers.filter(({ segment }) => lacks(segment) === 0) : offers;
  }

  /** A version or segment without a request so far is read meanwhile. */
  #lacks(segment: Segment, lacks: NonNullable<ModelSource["lacks"]>): number {
    const models = graphsOf(this.#serve, segment);
    const missing = models?.filter(({ step, from, to }) => !this.#pool.loaded(step.graph, from, to));
    return (
      missing?.reduce((sum, { step, from, to }) => sum + lacks(step.graph.file, from, to), 0) ?? Infinity
    );
  }

  #loaded(segment: Segment): boolean {
    const models = graphsOf(this.#serve, segment);
    return models?.every(({ step, from, to }) => this.#pool.loaded(step.graph, from, to)) === true;
  }

  /** The graphs of a segment load at the same time. */
  #loadMs(segment: Segment): number {
    const { lacks } = this.#parts.source;
    const times = graphsOf(this.#serve, segment)?.map(({ step: { graph }, from, to }) => {
      const lacksBytes = this.#pool.loaded(graph, from, to) ? 0 : (lacks?.(graph.file, from, to) ?? 0);
      return this.#pool.expectedMs(graph, from, to, lacksBytes);
    });
    return Math.max(0, ...(times ?? []));
  }

  /** Expected wait of a tail now, as far as its graphs are loaded. */
  async #queueMs(loaded: LoadedVersion, variant: string, from: CutId, call: Call): Promise<number> {
    const program = programOf(loaded, variant, this.info);
    const plan = await this.#serve.plans.get(program, from, endCut, undefined, call);
    const schedulers = plan.models.flatMap(
      ({ step, from, to }) => this.#pool.loaded(step.graph, from, to) ?? [],
    );
    return reportFor(this.#serve, new Set(schedulers)).queueMs;
  }

  #admitted(segment: Segment, call: Call, leastAgreementRatio?: number): Disposable {
    this.#admit(1);
    refuseRules(call, this.info, this.#parts.dataClasses);
    refusePast(call, this.#parts.clock);
    refuseConfirmed(call);
    return this.#serve.earlyAdmission.admit(segment, call, leastAgreementRatio);
  }

  async #prepare(segment: Segment, call: Call): Promise<void> {
    const { life, plans, pool } = this.#serve;
    this.#admit(0);
    using lease = await life.acquire(segment.model, segment.version, call);
    const { loaded, owner } = lease;
    checkDigest(segment, loaded);
    const program = programOf(loaded, segment.variant, this.info);
    const plan = await plans.get(program, segment.from, segment.to, undefined, call);
    (await leaseAll(pool, plan, owner, call))[Symbol.dispose]();
  }

  async *#inferStream(request: InferenceRequest, call: Call): AsyncIterable<InferenceResponse> {
    if (!(await this.#decoupled(request.segment, call))) {
      yield await this.infer(request, call);
      return;
    }
    this.#inFlight++;
    try {
      using own = this.#begin(call);
      yield* serveAnswers(this.#serve, request, own?.call ?? call);
    } catch (thrown) {
      throw this.#failed(thrown, request, call);
    } finally {
      this.#left();
    }
  }

  /** Refuses a request that may not run here. Returns its call as it ends at its deadline, if it has one. */
  #begin(call: Call): EndingCall | undefined {
    this.#admit(0);
    refuseRules(call, this.info, this.#parts.dataClasses);
    refusePast(call, this.#parts.clock);
    refuseConfirmed(call);
    return untilDeadline(call, this.#parts.clock, () => pastDeadline("execute"));
  }

  async #decoupled({ model, version }: Segment, call: Call): Promise<boolean> {
    using lease = await this.#serve.life.acquire(model, version, call);
    return lease.loaded.description.decoupled === true;
  }

  /** Tells of a failure and makes it one of ours. */
  #failed(thrown: unknown, { segment }: InferenceRequest, { id, tenant }: Call): LongshoreError {
    const { clock, observer } = this.#parts;
    const error = LongshoreError.from(thrown, "execute", `running model ${segment.model}`);
    observer.record(failureEvent(error, { id, tenant, model: segment.model }, clock.nowMs()));
    return error;
  }

  #left(): void {
    this.#inFlight--;
    if (this.#inFlight === 0) for (const quiet of this.#quiet.splice(0)) quiet();
  }

  async infer(request: InferenceRequest, call: Call): Promise<InferenceResponse> {
    this.#inFlight++;
    // Taken before anything waits: requests of a sequence run in the order in which they came.
    const place =
      request.sequence && this.#serve.sequences.join(call.tenant, request.segment.model, request.sequence.id);
    let own: EndingCall | undefined;
    try {
      own = this.#begin(call);
      return await serveRequest(this.#serve, request, own?.call ?? call, place);
    } catch (thrown) {
      throw this.#failed(thrown, request, call);
    } finally {
      own?.[Symbol.dispose]();
      place?.[Symbol.dispose]();
      this.#left();
    }
  }

  /** @param more Requests that would come on top of those under way. */
  #admit(more: number): void {
    if (this.#draining) {
      throw new LongshoreError(
        "shutting-down",
        "admission",
        `${this.info.id} takes no new requests: it is shutting down`,
      );
    }
    const { maxInFlight } = this.#limits;
    if (this.#inFlight + more <= maxInFlight) return;
    throw new LongshoreError(
      "queue-full",
      "admission",
      `${maxInFlight} requests are under way, which is the most this endpoint takes`,
      { retryAfterMs: 1000 },
    );
  }

  index(model?: string): Promise<readonly IndexEntry[]> {
    return this.#serve.life.index(model);
  }

  uses(model: string): Promise<readonly string[]> {
    return this.#serve.life.uses(model);
  }

  load(model: string, version: string | undefined, call: Call, override?: FileOverride): Promise<void> {
    return this.#serve.life.load(model, version, call, override);
  }

  unload(model: string, call: Call, dependents?: boolean | ((model: string) => boolean)): Promise<void> {
    return this.#serve.life.unload(model, call, dependents);
  }

  async written(model: string, version: string, call: Call): Promise<LoadedVersion["written"]> {
    using lease = await this.#serve.life.acquire(model, version, call);
    return lease.loaded.written;
  }

  async cuts(
    model: string,
    version: string | undefined,
    variant: string | undefined,
    call: Call,
  ): Promise<readonly Cut[]> {
    using lease = await this.#serve.life.acquire(model, version, call);
    const program = programOf(lease.loaded, variant ?? "", this.info);
    return (await positions(program, this.#inner, call)).map((position) => cutAt(program, position));
  }

  async artifact({ model, version, variant, from, to }: Segment, call: Call): Promise<Artifact> {
    using lease = await this.#serve.life.acquire(model, version, call);
    const program = programOf(lease.loaded, variant, this.info);
    const [step] = program.steps;
    if (!program.bare || step?.kind !== "model") {
      throw new LongshoreError(
        "unsupported",
        "resolve",
        `model ${model} is a pipeline: name the models of its steps`,
      );
    }
    // Also checks the cuts, and that they are in order.
    await this.#serve.plans.get(program, from, to, undefined, call);
    const { file } = step.graph;
    return from === startCut && to === endCut ? file : this.#parts.source.extract(file, from, to, call);
  }

  loadReport(): LoadReport {
    const loads = this.#pool.schedulers().map((scheduler) => scheduler.load());
    return {
      ...reportFor(this.#serve, []),
      cpuRatio: loads.length > 0 ? loads.reduce((sum, { cpuRatio }) => sum + cpuRatio, 0) / loads.length : 0,
      // Of a request for an unknown model the longest queue is a careful guess.
      queueMs: loads.reduce((longest, { queueMs }) => Math.max(longest, queueMs), 0),
      ...leastBatch(loads),
    };
  }

  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#inFlight > 0) await new Promise<void>((resolve) => this.#quiet.push(resolve));
  }

  close(): Promise<void> {
    this.#closed ??= (async () => {
      await this.drain();
      this.#serve.sequences.close();
      await this.#pool.close();
    })();
    return this.#closed;
  }
}
