import type { LongshoreEvent, Observer, Reason } from "@longshore/core";
import { PassingMap } from "@longshore/core/internal";

/** How often, and how long in all, as Triton's statistics have it. */
export interface CountAndTime {
  count: number;
  ns: number;
}

/** The kinds of time that Triton's statistics tell apart. */
const kinds = [
  "success",
  "fail",
  "queue",
  "compute_input",
  "compute_infer",
  "compute_output",
  "cache_hit",
  "cache_miss",
] as const;

type Kind = (typeof kinds)[number];

/** Why requests failed, in the words of Triton's metrics. */
export type TritonFailure = "REJECTED" | "CANCELED" | "BACKEND" | "OTHER";

/** Statistics of one version of one model since the server started. */
export interface ModelCounters {
  readonly model: string;
  readonly version: string;
  /** Milliseconds since the Unix epoch; 0 before the first. */
  lastInferenceMs: number;
  /** Rows: a request with a batch of eight counts eight times. Answers from the cache are none. */
  inferences: number;
  /** Runs of the model itself; a pipeline runs once for each request. */
  executions: number;
  /** Requests that found their model and whose first run has not begun. */
  pending: number;
  readonly times: Readonly<Record<Kind, CountAndTime>>;
  /** Its answers are kept, as its load event or a request said. */
  cached: boolean;
  readonly failures: Map<TritonFailure, number>;
  /** Of models that give several answers: by the position of the answer. */
  readonly answers: Map<number, AnswerCounters>;
}

/**
 * Answers at one position in the order. A request that failed or was left counts where its next answer would have been, and one that
 * gave all its answers has an empty one there: the end, which comes by itself.
 */
type AnswerCounters = Readonly<Record<(typeof answerKinds)[number], CountAndTime>>;

const answerKinds = [
  "compute_infer",
  "compute_output",
  "success",
  "fail",
  "empty_response",
  "cancel",
] as const;

/** Batches that ran, by size: joining the inputs, the run, and taking the outputs apart. */
interface BatchCounters {
  readonly size: number;
  readonly times: Readonly<Record<"compute_input" | "compute_infer" | "compute_output", CountAndTime>>;
}

/** Counts what the server does, from the events that its `observer` is given. */
export interface Counters extends CountersRead {
  readonly observer: Observer;
}

/** The counts. */
export interface CountersRead {
  /** Replies by HTTP status. */
  readonly replies: ReadonlyMap<number, number>;
  /** The counters of one version, or zeros before its first request. */
  version(model: string, version: string): ModelCounters;
  all(): readonly ModelCounters[];
  batches(model: string, version: string): readonly BatchCounters[];
  /** The estimated memory of the loaded instances of a version. */
  memoryBytes(model: string, version: string): number;
}

/** The most label values kept: names come from requests, but only of models that exist. */
const maxModels = 4096;
/** Distinct batch sizes that are counted for one version: clients choose how many rows a request has. */
const maxSizes = 1024;
/** Requests that are followed. */
const maxOpen = 65_536;

const keyOf = (model: string, version: string): string => `${model}/${version}`;
const zero = (): CountAndTime => ({ count: 0, ns: 0 });

function empty(model: string, version: string): ModelCounters {
  const times = Object.fromEntries(kinds.map((kind) => [kind, zero()])) as Record<Kind, CountAndTime>;
  return {
    model,
    version,
    lastInferenceMs: 0,
    inferences: 0,
    executions: 0,
    pending: 0,
    times,
    cached: false,
    failures: new Map(),
    answers: new Map(),
  };
}

function add(into: CountAndTime, tookMs: number): void {
  into.count += 1;
  into.ns += Math.round(tookMs * 1e6);
}

type Ended = LongshoreEvent & { readonly kind: "inference-ended" };
type Stage = Ended["stages"][number]["stage"];

/** The kind of time that a stage counts as; other stages are in the whole only. */
const stageKinds: Partial<Record<Stage, "queue" | "compute_input" | "compute_infer" | "compute_output">> = {
  queue: "queue",
  transform: "compute_input",
  decode: "compute_input",
  run: "compute_infer",
  encode: "compute_output",
};

/** The times of the stages of an inference, by kind. */
function timesOf(stages: Ended["stages"]) {
  const ms = { queue: 0, compute_input: 0, compute_infer: 0, compute_output: 0 };
  for (const { stage, tookMs } of stages) {
    const kind = stageKinds[stage];
    if (kind) ms[kind] += tookMs;
  }
  return ms;
}

const rejected: readonly Reason[] = [
  "rejected",
  "busier",
  "tenant-limit",
  "queue-full",
  "evicted",
  "starting",
  "shutting-down",
  "deadline-past",
  "deadline-exceeded",
];
const backend: readonly Reason[] = [
  "run-failed",
  "run-deadline",
  "runtime-crashed",
  "memory-limit",
  "disk-full",
  "disk-failed",
];

/** Triton's word for a reason. */
export function tritonFailure(reason: Reason): TritonFailure {
  if (reason === "cancelled") return "CANCELED";
  if (rejected.includes(reason)) return "REJECTED";
  return backend.includes(reason) ? "BACKEND" : "OTHER";
}

/** Positions in the order of answers that are counted separately. */
const maxPositions = 64;

function answersIn({ answers }: ModelCounters, position: number): AnswerCounters {
  const found =
    answers.get(position) ??
    (Object.fromEntries(answerKinds.map((kind) => [kind, zero()])) as Record<
      (typeof answerKinds)[number],
      CountAndTime
    >);
  if (position < maxPositions) answers.set(position, found);
  return found;
}

/** The two times of a run are read at different instants; the difference must not be negative, which gRPC cannot send. */
function inputOf({ inputMs = 0, tookMs }: LongshoreEvent & { kind: "batch-run" }): number {
  return Math.min(inputMs, tookMs);
}

/** Counters from zero. `wallMs` tells the time of day, for the time of the last inference. */
export function createCounters(wallMs: () => number = () => 0): Counters {
  const models = new Map<string, ModelCounters>();
  const batchesOf = new Map<string, Map<number, BatchCounters>>();
  const memoryOf = new Map<string, number>();
  const replies = new Map<number, number>();
  /** Requests under way, whether their first run has yet to begin, and whether it was that of a step. */
  const open = new PassingMap<
    string,
    { readonly counters: ModelCounters; waits: boolean; inSteps: boolean }
  >();
  /** Batches of models inside pipelines, which had no request of their own, with the waiting times of their members in all. */
  const inner = new WeakMap<readonly string[], number>();

  const countersOf = (model: string, version: string): ModelCounters => {
    const key = keyOf(model, version);
    const found = models.get(key);
    if (found) return found;
    const made = empty(model, version);
    if (models.size < maxModels) models.set(key, made);
    return made;
  };

  const begins = (callId: string, model: string): void => {
    const request = open.get(callId);
    if (!request?.waits) return;
    const { counters } = request;
    request.waits = false;
    counters.pending -= 1;
    // A run of the model itself is counted by its batch, which others may share.
    if (counters.model === model) return;
    counters.executions += 1;
    // A part of its own graph is called after it and the cuts.
    request.inSteps = !model.startsWith(`${counters.model}:`);
  };

  const started = (event: LongshoreEvent & { kind: "batch-started" }): void => {
    let own: ModelCounters | undefined;
    let asked = false;
    for (const id of event.callIds) {
      const counters = open.get(id)?.counters;
      asked ||= counters !== undefined;
      if (counters?.model === event.model) own = counters;
    }
    if (own) own.executions += 1;
    // Runs that warm a model up are not requests.
    else if (asked) inner.set(event.callIds, event.queueMs ?? 0);
    for (const id of event.callIds) begins(id, event.model);
  };

  const batchRan = (event: LongshoreEvent & { kind: "batch-run" }): void => {
    const { model, version, size, tookMs } = event;
    const inputMs = inputOf(event);
    innerRan(event);
    // Parts between inner cuts have no statistics of their own.
    if (version !== undefined) addBatch(model, version, size, inputMs, tookMs - inputMs, 0);
  };

  const addBatch = (
    model: string,
    version: string,
    size: number,
    inputMs: number,
    inferMs: number,
    outputMs: number,
  ): void => {
    const key = keyOf(model, version);
    const sizes = batchesOf.get(key) ?? new Map<number, BatchCounters>();
    if (batchesOf.size < maxModels) batchesOf.set(key, sizes);
    const made = { compute_input: zero(), compute_infer: zero(), compute_output: zero() };
    const batch = sizes.get(size) ?? { size, times: made };
    if (sizes.size < maxSizes) sizes.set(size, batch);
    add(batch.times.compute_input, inputMs);
    add(batch.times.compute_infer, inferMs);
    add(batch.times.compute_output, outputMs);
  };

  /** The later part of a counted run: its requests had to get copies of their parts. */
  const batchParted = (event: LongshoreEvent & { kind: "batch-parted" }): void => {
    const { model, version, size, tookMs, callIds } = event;
    if (version === undefined) return;
    const ns = Math.round(tookMs * 1e6);
    const batch = batchesOf.get(keyOf(model, version))?.get(size);
    if (batch) batch.times.compute_output.ns += ns;
    if (!callIds || !inner.has(callIds)) return;
    const { times } = countersOf(model, version);
    for (const kind of ["compute_output", "success"] as const) times[kind].ns += callIds.length * ns;
  };

  /** Triton counts what a model does inside an ensemble as its own requests; its tools look for that. */
  const innerRan = (event: LongshoreEvent & { kind: "batch-run" }): void => {
    const { callIds, model, version, size, tookMs } = event;
    const inputMs = inputOf(event);
    const queueMs = callIds && inner.get(callIds);
    if (!callIds || queueMs === undefined || version === undefined) return;
    const counters = countersOf(model, version);
    const members = callIds.length;
    const many = (kind: Kind, ms: number): void => {
      counters.times[kind].count += members;
      counters.times[kind].ns += Math.round(ms * 1e6);
    };
    counters.lastInferenceMs = Math.round(wallMs());
    counters.inferences += size;
    counters.executions += 1;
    many("success", queueMs + members * tookMs);
    many("queue", queueMs);
    many("compute_input", members * inputMs);
    many("compute_infer", members * (tookMs - inputMs));
    many("compute_output", 0);
  };

  const cacheAsked = (event: LongshoreEvent & { kind: "cache-asked" }): void => {
    const { callId, model, version, outcome, tookMs } = event;
    const counters = countersOf(model, version);
    counters.cached = true;
    const { times } = counters;
    if (outcome === "miss") return add(times.cache_miss, tookMs);
    add(times.cache_hit, tookMs);
    const asked = open.get(callId)?.counters.model;
    if (asked === undefined || asked === model) return;
    // For a step: a request that succeeded, and began its model's run, as a run would have.
    begins(callId, model);
    counters.lastInferenceMs = Math.round(wallMs());
    add(times.success, tookMs);
    add(times.queue, 0);
  };

  const ended = (event: Ended): void => {
    const request = open.get(event.callId);
    const counters = request?.counters ?? countersOf(event.model, event.version);
    const { outcome, stages, tookMs, answersTookMs } = event;
    answersTookMs?.forEach((one, position) => {
      const { compute_infer: made, compute_output: written, success } = answersIn(counters, position);
      add(made, one.tookMs - one.encodeMs);
      add(written, one.encodeMs);
      add(success, one.tookMs);
    });
    if (answersTookMs) {
      const passedMs = Math.max(0, tookMs - answersTookMs.reduce((sum, one) => sum + one.tookMs, 0));
      const next = answersIn(counters, event.answers);
      const how = outcome === "answered" ? "empty_response" : outcome === "cancelled" ? "cancel" : "fail";
      add(next[how], passedMs);
      if (how !== "cancel") add(next.compute_infer, passedMs);
    }
    const { waits: unrun = false, inSteps = false } = request ?? {};
    open.delete(event.callId);
    if (unrun) counters.pending -= 1;
    if (outcome !== "answered") {
      add(counters.times.fail, tookMs);
      const word = tritonFailure(outcome);
      counters.failures.set(word, (counters.failures.get(word) ?? 0) + 1);
      return;
    }
    counters.lastInferenceMs = Math.round(wallMs());
    add(counters.times.success, tookMs);
    // Steps that were answered from memory are those of their models. Triton's queues have those requests, too.
    if (stages.some(({ stage, name }) => stage === "cache" && name === event.model)) {
      add(counters.times.queue, 0);
      return;
    }
    // A forwarded request ran elsewhere, where no batch event of ours reports it.
    if (unrun) counters.executions += 1;
    counters.inferences += event.rows;
    const { times } = counters;
    // Every kind counts each inference once, also when it took no time: perf_analyzer divides by these counts.
    // The queues of steps are those of their models, where they are counted.
    const ms = timesOf(stages);
    add(times.queue, inSteps ? 0 : ms.queue);
    add(times.compute_input, ms.compute_input);
    add(times.compute_infer, ms.compute_infer);
    add(times.compute_output, ms.compute_output);
    if (!inSteps) return;
    // Each is a batch of its own, as of an ensemble in Triton.
    addBatch(event.model, event.version, event.rows, ms.compute_input, ms.compute_infer, ms.compute_output);
  };

  return {
    replies,
    observer: {
      record(event) {
        switch (event.kind) {
          case "inference-began": {
            if (open.size >= maxOpen) return;
            const counters = countersOf(event.model, event.version);
            open.set(event.callId, { counters, waits: true, inSteps: false });
            counters.pending += 1;
            return;
          }
          case "model-state":
            // Its zeros are reported before its first request, as in Triton: rates and autoscalers begin from them.
            if (event.state === "ready")
              countersOf(event.model, event.version).cached = event.cached === true;
            return;
          case "batch-started":
            return started(event);
          case "batch-run":
            return batchRan(event);
          case "batch-parted":
            return batchParted(event);
          case "graph-memory": {
            const key = keyOf(event.model, event.version);
            const bytes = (memoryOf.get(key) ?? 0) + event.bytes;
            return void (bytes > 0 ? memoryOf.set(key, bytes) : memoryOf.delete(key));
          }
          case "inference-ended":
            return ended(event);
          case "cache-asked":
            return cacheAsked(event);
          case "exchange-ended":
            return void replies.set(event.status, (replies.get(event.status) ?? 0) + 1);
          default:
        }
      },
    },
    version: (model, version) => models.get(keyOf(model, version)) ?? empty(model, version),
    all: () => [...models.values()],
    batches: (model, version) =>
      [...(batchesOf.get(keyOf(model, version))?.values() ?? [])].sort((a, b) => a.size - b.size),
    memoryBytes: (model, version) => memoryOf.get(keyOf(model, version)) ?? 0,
  };
}
