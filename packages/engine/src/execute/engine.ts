import {
  type Call,
  type Clock,
  type Cut,
  type CutId,
  type Endpoint,
  type EndpointInfo,
  endCut,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type LoadReport,
  type ModelKnowledge,
  type Observer,
  type Offer,
  type OfferQuery,
  type Random,
  type Segment,
  startCut,
  type TenantId,
} from "@longshore/core";
import {
  type LoadedVersion,
  type ModelOverride,
  modelRepository,
  type ModelSource,
  type ModelStore,
} from "../repository/index.ts";
import { type SealKey, sequenceStore } from "../sequence/index.ts";
import type { TransformSet } from "../transform/index.ts";
import { cutAt } from "./crossing.ts";
import { doors } from "./doors.ts";
import { expectations } from "./expectations.ts";
import { ownPass } from "./grant-request.ts";
import { type GraphPool, graphPool, rateLimiter } from "../schedule/index.ts";
import type { Lane } from "./lane.ts";
import type { IndexEntry } from "./model-index.ts";
import { modelLife } from "./model-life.ts";
import { makeOffers, servedHere } from "./offers.ts";
import { elementBudget } from "./element-budget.ts";
import { pipelineRoom } from "./pipeline-room.ts";
import { planCache } from "./plan-cache.ts";
import { type InnerCuts, innerCuts, positions } from "./positions.ts";
import { refusePast, untilDeadline } from "./request-call.ts";
import type { Artifact, Runtime } from "./runtime.ts";
import { serveAnswers } from "./serve-answers.ts";
import { reportFor, type ServeParts, serveRequest } from "./serve-request.ts";
import { speeds } from "./speed.ts";
import { programOf } from "./variants.ts";

/** Bounds of what an engine keeps and takes. */
export interface EngineLimits {
  /** Requests under way in all; more are refused with `queue-full`. Default 1024. */
  readonly maxInFlight: number;
  /** Requests that may wait for one graph. Default 128: more would wait longer than callers do. */
  readonly maxQueued: number;
  /** Whole graphs that stay loaded. Default 64. */
  readonly maxGraphs: number;
  /** Parts between inner cuts that stay loaded. Default 16: each holds its weights once more. */
  readonly maxParts: number;
  /** Live sequences. Default 4096. */
  readonly maxSequences: number;
  /** Live sequences of one tenant. Default 1024. */
  readonly maxSequencesPerTenant: number;
  /** Bytes of the states of all sequences. Default 256 MiB. */
  readonly maxStateBytes: number;
  /** Loaded copies of a model that does not say how many. Default 1. */
  readonly defaultInstances: number;
  /** Threads inside one run. Default 1. */
  readonly threads: number;
  /**
   * Bytes that pipelines may hold between their steps, over all requests, before more of them wait at the beginning.
   * Default 1 GiB.
   */
  readonly maxPipelineBytes: number;
  /** Elements of fan-outs that are worked on at one time, over all requests. Default 256. */
  readonly maxElements: number;
  /** Bytes that loaded models may hold, by estimate; the least recently used idle ones go. Default: no limit. */
  readonly maxModelBytes: number;
}

/** What an engine is made from. The parts stay their maker's: `close` does not close runtimes, lane or store. */
export interface EngineParts {
  readonly info: EndpointInfo;
  readonly store: ModelStore;
  readonly source: ModelSource;
  /** The first is the default; the next one is tried for what one cannot run (`unsupported`). */
  readonly runtimes: readonly Runtime[];
  /** Runs models that are not trusted. */
  readonly sandbox?: Runtime;
  /** What `lane` can run, to check pipelines before a request meets them. */
  readonly transforms: TransformSet;
  readonly lane: Lane;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  /** `sha256:<hex>`. */
  readonly sha256: (bytes: Uint8Array) => Promise<string>;
  readonly limits?: Partial<EngineLimits>;
  /** Share of device time of a tenant against others' when there is not enough for all. Default: all have 1. */
  readonly weightOf?: (tenant: TenantId) => number;
  /**
   * Shared resources that runs of models take, and how much there is of each; undefined: what models say they take is
   * not looked at.
   */
  readonly resources?: Readonly<Record<string, number>>;
  /** Whether models are served only once they were loaded. Default false: each is read when it is first asked for. */
  readonly explicit?: boolean;
  /** Whether copies of a model that want a GPU may have a processor instead. Default false. */
  readonly gpuFallback?: boolean;
  /** Seals exported state of sequences, so that it can come back through hands that may not make one up. */
  readonly stateKey?: SealKey;
}

/**
 * Runs models and pipelines here. In a request's segment an empty version means the latest, an empty variant the default
 * of this place, and an empty digest whatever content is here.
 */
export interface Engine extends Endpoint {
  /** Every version in the store and what became of it. */
  index(): Promise<readonly IndexEntry[]>;
  /**
   * Reads a model anew and loads the instances of its default variant, then serves it instead of what was served before;
   * requests under way finish on the old one. Without a version: all that the model's policy serves. A version that cannot
   * be loaded leaves its predecessor in place and is thrown at the end.
   */
  load(model: string, version: string | undefined, call: Call, override?: ModelOverride): Promise<void>;
  /**
   * Refuses new requests for a model, waits for those under way, and frees it until the next `load`; with `dependents` also
   * the models that it is made of.
   */
  unload(model: string, call: Call, dependents?: boolean): Promise<void>;
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

const defaultLimits: EngineLimits = {
  maxInFlight: 1024,
  maxQueued: 128,
  maxGraphs: 64,
  maxParts: 16,
  maxSequences: 4096,
  maxSequencesPerTenant: 1024,
  maxStateBytes: 256 * 2 ** 20,
  defaultInstances: 1,
  threads: 1,
  maxPipelineBytes: 2 ** 30,
  maxElements: 256,
  maxModelBytes: Infinity,
};

/** Makes an engine. Nothing is read or loaded before it is asked for. */
export function createEngine(parts: EngineParts): Engine {
  return new EngineHere(parts);
}

class EngineHere implements Engine {
  readonly info: EndpointInfo;
  readonly #parts: EngineParts;
  readonly #limits: EngineLimits;
  readonly #pool: GraphPool;
  readonly #inner: InnerCuts;
  readonly #serve: ServeParts;
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
      load: { threads: this.#limits.threads },
      limits: this.#limits,
      limiter: parts.resources && rateLimiter(parts.resources),
    });
    this.#inner = innerCuts(source);
    const repository = modelRepository({ ...parts, defaultInstances: this.#limits.defaultInstances });
    const admission = { info, expectations: expectations(), clock, random };
    this.#serve = {
      ...admission,
      doors: doors(admission),
      pool: this.#pool,
      life: modelLife({
        repository,
        pool: this.#pool,
        clock,
        observer,
        explicit: parts.explicit ?? false,
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
      speeds: speeds(clock),
      lane,
      transforms: parts.transforms,
      room: pipelineRoom(this.#limits.maxPipelineBytes),
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
      const { description, profile } = lease.loaded;
      return { description, ...(profile ? { profile } : {}) };
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

  async offers(query: OfferQuery, call: Call): Promise<readonly Offer[]> {
    if (this.#draining) return [];
    using lease = await this.#serve.life.acquire(query.model, query.version, call);
    const { loaded } = lease;
    return makeOffers(loaded, query, {
      info: this.info,
      speeds: this.#serve.speeds,
      nowMs: this.#parts.clock.nowMs(),
      queueMs: (variant, from) => this.#queueMs(loaded, variant, from, call),
    });
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

  admit(segment: Segment, call: Call, leastAgreementRatio?: number): Disposable {
    this.#admit(1);
    refusePast(call, this.#parts.clock);
    return ownPass(this.#serve.doors.admit(segment, call, leastAgreementRatio));
  }

  async *inferStream(request: InferenceRequest, call: Call): AsyncIterable<InferenceResponse> {
    const { clock } = this.#parts;
    if (!(await this.#decoupled(request.segment, call))) {
      yield await this.infer(request, call);
      return;
    }
    this.#inFlight++;
    try {
      this.#admit(0);
      refusePast(call, clock);
      using own = untilDeadline(call, clock);
      yield* serveAnswers(this.#serve, request, own.call);
    } catch (thrown) {
      throw this.#failed(thrown, request, call);
    } finally {
      this.#left();
    }
  }

  async #decoupled({ model, version }: Segment, call: Call): Promise<boolean> {
    using lease = await this.#serve.life.acquire(model, version, call);
    return lease.loaded.description.decoupled === true;
  }

  /** Tells of a failure and makes it one of ours. */
  #failed(thrown: unknown, { segment }: InferenceRequest, call: Call): LongshoreError {
    const { clock, observer } = this.#parts;
    const error = LongshoreError.from(thrown, "execute", `running model ${segment.model}`);
    const { reason, stage, message } = error;
    observer.record({ kind: "failure", atMs: clock.nowMs(), callId: call.id, stage, reason, message });
    return error;
  }

  #left(): void {
    this.#inFlight--;
    if (this.#inFlight === 0) for (const quiet of this.#quiet.splice(0)) quiet();
  }

  async infer(request: InferenceRequest, call: Call): Promise<InferenceResponse> {
    const { clock } = this.#parts;
    this.#inFlight++;
    // Taken before anything waits: requests of a sequence run in the order in which they came.
    using place =
      request.sequence && this.#serve.sequences.join(call.tenant, request.segment.model, request.sequence.id);
    try {
      this.#admit(0);
      refusePast(call, clock);
      using own = untilDeadline(call, clock);
      return await serveRequest(this.#serve, request, own.call, place);
    } catch (thrown) {
      throw this.#failed(thrown, request, call);
    } finally {
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
      `${maxInFlight} requests are under way, which is the most this place takes`,
      { retryAfterMs: 1000 },
    );
  }

  index(): Promise<readonly IndexEntry[]> {
    return this.#serve.life.index();
  }

  load(model: string, version: string | undefined, call: Call, override?: ModelOverride): Promise<void> {
    return this.#serve.life.load(model, version, call, override);
  }

  unload(model: string, call: Call, dependents?: boolean): Promise<void> {
    return this.#serve.life.unload(model, call, dependents);
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
        `model ${model} is a pipeline: ask for the models of its steps`,
      );
    }
    // Also checks the cuts, and that they are in order.
    await this.#serve.plans.get(program, from, to, undefined, call);
    const { file } = step.graph;
    return from === startCut && to === endCut ? file : this.#parts.source.extract(file, from, to, call);
  }

  loadReport(): LoadReport {
    const loads = this.#pool.schedulers().map((scheduler) => scheduler.load());
    const { atMs, inFlight } = reportFor(this.#serve, []);
    return {
      atMs,
      inFlight,
      cpuRatio: loads.length > 0 ? loads.reduce((sum, { cpuRatio }) => sum + cpuRatio, 0) / loads.length : 0,
      // Of a request for an unknown model the longest queue is a careful guess.
      queueMs: loads.reduce((longest, { queueMs }) => Math.max(longest, queueMs), 0),
    };
  }

  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#inFlight === 0) return;
    await new Promise<void>((resolve) => this.#quiet.push(resolve));
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
