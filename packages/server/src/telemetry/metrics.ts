import {
  type DirectorySnapshot,
  type EndpointId,
  type LoadReport,
  type LongshoreEvent,
  type Reason,
  reasons,
} from "@longshore/core";
import type { Counters, ModelCounters } from "./counters.ts";
import { type DemandMetrics, demandMetrics } from "./demand.ts";
import {
  bounds,
  counter,
  type Counter,
  type Exemplar,
  type Family,
  gauge,
  histogram,
  type Histogram,
  type MetricsForm,
  metricsText,
  type MetricLine,
  type Sees,
} from "./registry.ts";

/** The use of the machine by the process, measured outside of this module. */
export interface MachineUse {
  /** 0..1 of all processors since the last read. */
  readonly cpuRatio: number;
  readonly memoryTotalBytes: number;
  readonly memoryUsedBytes: number;
  /** Of this process. */
  readonly residentBytes: number;
  /** How late the event loop was since the last read, as 99th percentile in seconds. */
  readonly eventLoopDelaySeconds?: number;
}

/** The sources of figures that are not counted from events. */
export interface MetricsParts {
  readonly counters: Counters;
  readonly load?: () => LoadReport;
  readonly machine?: () => MachineUse;
  /** The known endpoints. */
  readonly directory?: () => DirectorySnapshot | undefined;
  /** Endpoints whose answers are checked. */
  readonly checked?: () => Iterable<EndpointId>;
}

type ModelValue = (one: ModelCounters) => number;

const microseconds = (ns: number): number => Math.round(ns / 1000);

/** Triton's names and labels, so that its dashboards and autoscalers read this server as they are. */
const tritonCounters: readonly (readonly [name: string, help: string, value: ModelValue])[] = [
  ["nv_inference_request_success", "Requests that were answered", (one) => one.times.success.count],
  ["nv_inference_count", "Inferences, rows of a batch counted", (one) => one.inferences],
  ["nv_inference_exec_count", "Runs of the model, whatever the batch", (one) => one.executions],
  [
    "nv_inference_request_duration_us",
    "Time from arrival to answer",
    (one) => microseconds(one.times.success.ns),
  ],
  ["nv_inference_queue_duration_us", "Time in queues", (one) => microseconds(one.times.queue.ns)],
  [
    "nv_inference_compute_input_duration_us",
    "Time to prepare inputs",
    (one) => microseconds(one.times.compute_input.ns),
  ],
  [
    "nv_inference_compute_infer_duration_us",
    "Time of runs",
    (one) => microseconds(one.times.compute_infer.ns),
  ],
  [
    "nv_inference_compute_output_duration_us",
    "Time to prepare outputs",
    (one) => microseconds(one.times.compute_output.ns),
  ],
];

/** Of models whose answers are kept, as there. */
const tritonCacheCounters: typeof tritonCounters = [
  ["nv_cache_num_hits_per_model", "Answers from the response cache", (one) => one.times.cache_hit.count],
  ["nv_cache_num_misses_per_model", "Answers that were not in it", (one) => one.times.cache_miss.count],
  [
    "nv_cache_hit_duration_per_model",
    "Time to answer from the cache, in microseconds",
    (one) => microseconds(one.times.cache_hit.ns),
  ],
  [
    "nv_cache_miss_duration_per_model",
    "Time to look in vain and to keep the answer, in microseconds",
    (one) => microseconds(one.times.cache_miss.ns),
  ],
];

function labelsOf({ model, version }: ModelCounters): MetricLine["labels"] {
  return [
    ["model", model],
    ["version", version],
  ];
}

function* tritonFamilies({ counters, machine }: MetricsParts): Iterable<Family> {
  const models = counters.all();
  const each =
    (value: ModelValue, of = models) =>
    () =>
      of.map((one): MetricLine => ({ suffix: "", labels: labelsOf(one), value: value(one) }));
  for (const [name, help, value] of tritonCounters) {
    yield { name, help, type: "unknown", samples: each(value) };
  }
  const plain = (name: string, help: string, value: number): Family => gauge(name, help, () => [[[], value]]);
  const cached = models.filter((one) => one.cached);
  for (const [name, help, value] of tritonCacheCounters) {
    yield { name, help, type: "unknown", samples: each(value, cached) };
  }
  if (cached.length > 0) {
    const sum = (kind: "cache_hit" | "cache_miss"): number =>
      cached.reduce((all, { times }) => all + times[kind].count, 0);
    const [hits, misses] = [sum("cache_hit"), sum("cache_miss")];
    yield plain("nv_cache_num_hits", "Answers from the response cache, of all models", hits);
    yield plain("nv_cache_num_misses", "Answers that were not in it, of all models", misses);
    yield plain("nv_cache_num_lookups", "Answers that were looked for in it", hits + misses);
  }
  yield {
    name: "nv_inference_request_failure",
    help: "Requests that failed, by reason",
    type: "unknown",
    samples: () =>
      models.flatMap((one) =>
        (["REJECTED", "CANCELED", "BACKEND", "OTHER"] as const).map((reason): MetricLine => ({
          suffix: "",
          labels: [...labelsOf(one), ["reason", reason]],
          value: one.failures.get(reason) ?? 0,
        })),
      ),
  };
  yield gauge("nv_inference_pending_request_count", "Requests that wait for their first run", () =>
    models.map((one) => [labelsOf(one), one.pending] as const),
  );
  if (!machine) return;
  const use = machine();
  yield plain("nv_cpu_utilization", "Share of all processors in use, 0 to 1", use.cpuRatio);
  yield plain("nv_cpu_memory_total_bytes", "Memory of the machine", use.memoryTotalBytes);
  yield plain("nv_cpu_memory_used_bytes", "Memory in use on the machine", use.memoryUsedBytes);
  yield plain("longshore_resident_memory_bytes", "Memory of this process", use.residentBytes);
  if (use.eventLoopDelaySeconds !== undefined) {
    yield plain(
      "longshore_event_loop_delay_seconds",
      "Delay of the event loop since the last scrape, 99th percentile",
      use.eventLoopDelaySeconds,
    );
  }
}

/** Upper bounds of the histogram of request durations, in seconds. */
export const requestDurationBounds: readonly number[] = bounds(0.0001, 2, 20);
const seconds = requestDurationBounds;
const byteBounds = bounds(256, 4, 12);

/** Our own metrics; `table.ts` says which event moves which. */
export interface Metrics {
  readonly requestSeconds: Histogram;
  readonly stageSeconds: Histogram;
  readonly requestBytes: Histogram;
  readonly replyBytes: Histogram;
  readonly batchRows: Histogram;
  readonly joules: Counter;
  readonly costMicros: Counter;
  readonly carbonGrams: Counter;
  readonly carbonUnknown: Counter;
  readonly failures: Counter;
  readonly replies: Counter;
  readonly tenantRequests: Counter;
  readonly modelStates: Counter;
  readonly cacheEvicted: Counter;
  readonly cacheJoined: Counter;
  readonly repeated: Counter;
  readonly legs: Counter;
  readonly sent: Counter;
  readonly sentSeconds: Histogram;
  readonly spans: Counter;
  readonly logRecords: Counter;
  readonly metricPoints: Counter;
  readonly directoryChanges: Counter;
  readonly answerChecks: Counter;
  readonly providerLoads: Counter;
  readonly rolloutChanges: Counter;
  readonly rolloutCompared: Counter;
  readonly quarantines: Counter;
  readonly demand: DemandMetrics;
  cache: { readonly entries: number; readonly bytes: number; readonly maxBytes: number } | undefined;
  /** All metrics as they are now. */
  families(): Iterable<Family>;
  /** The metrics of what a reader sees, as text in pieces; see `metricsText`. */
  text(form: MetricsForm, sees: Sees): Generator<void, readonly Uint8Array[]>;
}

const model = ["model", "version"] as const;

type Quarantine = LongshoreEvent & { readonly kind: "endpoint-quarantined" };
const quarantinedBy: readonly Quarantine["by"][] = ["golden input", "agreement"];

/** Metrics from zero. */
export function createMetrics(parts: MetricsParts): Metrics {
  const own = {
    requestSeconds: histogram(
      "longshore_request_duration_seconds",
      "Time from arrival to reply of inferences, by outcome: answered, caller-error or failed",
      [...model, "outcome"],
      seconds,
    ),
    stageSeconds: histogram(
      "longshore_stage_duration_seconds",
      "Time of one stage of an inference, all its steps together",
      [...model, "stage"],
      seconds,
    ),
    requestBytes: histogram("longshore_request_bytes", "Bytes of inference requests", model, byteBounds),
    replyBytes: histogram("longshore_reply_bytes", "Bytes of inference replies", model, byteBounds),
    batchRows: histogram("longshore_batch_rows", "Rows of one run", ["model"], bounds(1, 2, 8)),
    joules: counter("longshore_energy_joules_total", "Energy of inferences, as far as it is known", [
      ...model,
      "known",
    ]),
    costMicros: counter(
      "longshore_cost_micros_total",
      "Cost of runs in micros, lost and extra runs included, by tenant, model and endpoint",
      ["tenant", "model", "endpoint"],
    ),
    carbonGrams: counter(
      "longshore_carbon_grams_total",
      "CO2 of runs in grams by tenant, model and endpoint, as far as zones and energy are known",
      ["tenant", "model", "endpoint"],
    ),
    carbonUnknown: counter(
      "longshore_carbon_unknown_total",
      "Runs whose CO2 is not counted, since the intensity of a zone or the energy is not known",
      ["tenant", "model", "endpoint"],
    ),
    failures: counter("longshore_failures_total", "Failures by reason and stage", ["reason", "stage"]),
    replies: counter("longshore_replies_total", "Replies by HTTP status", ["status"]),
    tenantRequests: counter("longshore_tenant_requests_total", "Inferences by tenant and outcome", [
      "tenant",
      "outcome",
    ]),
    modelStates: counter("longshore_model_states_total", "Changes of the state of a model", [
      "model",
      "state",
    ]),
    cacheEvicted: counter("longshore_cache_evicted_total", "Answers that made room for newer ones", []),
    cacheJoined: counter(
      "longshore_cache_joined_total",
      "Requests that shared the run of an equal one under way",
      model,
    ),
    repeated: counter(
      "longshore_requests_repeated_total",
      "Requests that came again with their idempotency key and got their answer without a run",
      model,
    ),
    legs: counter("longshore_legs_total", "Legs of plans by endpoint and outcome", ["endpoint", "outcome"]),
    sent: counter("longshore_sent_requests_total", "Requests to other servers", ["endpoint", "outcome"]),
    sentSeconds: histogram(
      "longshore_sent_request_duration_seconds",
      "Time of requests to other servers, network included",
      ["endpoint"],
      seconds,
    ),
    spans: counter("longshore_trace_spans_total", "Spans by what became of them", ["outcome"]),
    logRecords: counter("longshore_log_records_total", "Log records for the collector by outcome", [
      "outcome",
    ]),
    metricPoints: counter("longshore_metric_points_total", "Points of metrics for the collector by outcome", [
      "outcome",
    ]),
    directoryChanges: counter(
      "longshore_directory_changes_total",
      "Endpoints that came, changed, went, were not believed or did not say yet where they are",
      ["change"],
    ),
    rolloutChanges: counter("longshore_rollout_changes_total", "Changes of aliases", ["alias", "change"]),
    rolloutCompared: counter("longshore_rollout_compared_total", "Answers of shadows that were compared", [
      "alias",
      "outcome",
    ]),
    answerChecks: counter("longshore_answer_checks_total", "Answers of endpoints that were checked", [
      "endpoint",
      "by",
      "outcome",
    ]),
    providerLoads: counter(
      "longshore_provider_loads_total",
      "Execution providers that were tried for a model that was being loaded",
      ["model", "provider", "outcome"],
    ),
    quarantines: counter("longshore_quarantines_total", "Endpoints whose answers were no longer believed", [
      "endpoint",
      "by",
    ]),
  };
  const demand = demandMetrics();
  const metrics: Metrics = {
    ...own,
    demand,
    cache: undefined,
    families,
    text: (form, sees) => metricsText(families(), form, sees),
  };
  function* families(): Iterable<Family> {
    // A counter whose first value is 1 has no increase: no alert would see the first quarantine.
    for (const id of parts.checked?.() ?? []) for (const by of quarantinedBy) own.quarantines.at([id, by]);
    yield* tritonFamilies(parts);
    yield* Object.values(own);
    yield* Object.values(demand.families);
    const { cache } = metrics;
    if (cache) {
      yield gauge("longshore_cache_bytes", "Memory of the response cache", () => [[[], cache.bytes]]);
      yield gauge("longshore_cache_entries", "Answers in the response cache", () => [[[], cache.entries]]);
      yield gauge("nv_cache_num_entries", "Answers in the response cache", () => [[[], cache.entries]]);
      yield gauge("nv_cache_util", "Share of the response cache that is in use, 0 to 1", () => [
        [[], cache.bytes / Math.max(1, cache.maxBytes)],
      ]);
    }
    const directory = parts.directory?.();
    if (directory) {
      yield gauge(
        "longshore_directory_age_seconds",
        "Time since the directory was last in touch, or since the start",
        () => (Number.isFinite(directory.ageMs) ? [[[], directory.ageMs / 1000]] : []),
      );
      yield gauge("longshore_directory_entries", "Endpoints in the directory", () => [
        [[], directory.entries.length],
      ]);
    }
    const load = parts.load?.();
    if (!load) return;
    yield gauge("longshore_load_cpu_ratio", "Share of instances that run", () => [[[], load.cpuRatio]]);
    yield gauge("longshore_load_in_flight", "Requests accepted and not finished", () => [
      [[], load.inFlight],
    ]);
    yield gauge("longshore_load_queue_seconds", "Expected wait of a request that comes now", () => [
      [[], load.queueMs / 1000],
    ]);
  }
  return metrics;
}

/** The trace of an inference as an exemplar of a value. */
export function exemplarOf(
  traceId: string | undefined,
  value: number,
  wallMs: () => number,
): Exemplar | undefined {
  return traceId === undefined ? undefined : { traceId, value, atSeconds: wallMs() / 1000 };
}

/** The series of one version of one model, looked up once. */
interface Series {
  readonly answered: ReturnType<Histogram["at"]>;
  readonly failed: ReturnType<Histogram["at"]>;
  readonly received: ReturnType<Histogram["at"]>;
  readonly sent: ReturnType<Histogram["at"]>;
  readonly stages: Map<string, ReturnType<Histogram["at"]>>;
  /** By what is known of the energy. */
  readonly joules: Map<string, ReturnType<Counter["at"]>>;
}

const known = new WeakMap<Metrics, Map<string, Series>>();
/** Versions of models whose series are kept at hand; more are looked up each time. */
const maxKnown = 1024;

function seriesFor(metrics: Metrics, labels: readonly [string, string]): Series {
  const own = known.get(metrics) ?? new Map<string, Series>();
  known.set(metrics, own);
  const key = `${labels[0]}\n${labels[1]}`;
  const found = own.get(key);
  if (found) return found;
  const made: Series = {
    answered: metrics.requestSeconds.at([...labels, "answered"]),
    failed: metrics.requestSeconds.at([...labels, "failed"]),
    received: metrics.requestBytes.at(labels),
    sent: metrics.replyBytes.at(labels),
    stages: new Map(),
    joules: new Map(),
  };
  if (own.size < maxKnown) own.set(key, made);
  return made;
}

/**
 * Whether a failure says nothing of the service: the request was wrong, its sender may not send it or took it back, or its deadline had passed
 * when it came.
 */
function isCallers(reason: Reason): boolean {
  return reasons[reason].httpStatus < 500 || reason === "unsupported" || reason === "deadline-past";
}

/**
 * Begins the series of a model that alerts are about, at 0. A counter whose first value is 1 has no increase, so that its first event would
 * not be seen.
 */
export function modelSeen(
  metrics: Metrics,
  { model, version, state }: LongshoreEvent & { readonly kind: "model-state" },
): void {
  metrics.modelStates.at([model, "unavailable"]);
  if (state === "ready") seriesFor(metrics, [model, version]);
}

/** Adds one inference to the histograms and counters that are about inferences. */
export function inferenceEnded(
  metrics: Metrics,
  event: LongshoreEvent & { readonly kind: "inference-ended" },
  wallMs: () => number,
): void {
  const labels = [event.model, event.version] as const;
  const series = seriesFor(metrics, labels);
  const took = event.tookMs / 1000;
  const answered = event.outcome === "answered";
  const outcome =
    event.outcome === "answered" ? "answered" : isCallers(event.outcome) ? "caller-error" : "failed";
  const exemplar = exemplarOf(event.traceId, took, wallMs);
  if (outcome === "caller-error") metrics.requestSeconds.observe([...labels, outcome], took, exemplar);
  else series[outcome](took, exemplar);
  metrics.tenantRequests.add([event.tenant, outcome]);
  series.received(event.receivedBytes);
  if (!answered) return;
  series.sent(event.sentBytes);
  const { stages, millijoules, energyLabel } = event;
  for (const first of stages) {
    const { stage } = first;
    // Told with the first of a kind, for all of it: there are few, so that looking is quicker than a table.
    if (stages.find((one) => one.stage === stage) !== first) continue;
    let value = 0;
    for (const one of stages) if (one.stage === stage) value += one.tookMs / 1000;
    let observe = series.stages.get(stage);
    if (!observe) {
      observe = metrics.stageSeconds.at([...labels, stage]);
      series.stages.set(stage, observe);
    }
    observe(value, exemplarOf(event.traceId, value, wallMs));
  }
  if (millijoules <= 0) return;
  let spend = series.joules.get(energyLabel);
  if (!spend) {
    spend = metrics.joules.at([...labels, energyLabel]);
    series.joules.set(energyLabel, spend);
  }
  spend(millijoules / 1000);
}
