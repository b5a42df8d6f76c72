import { type LongshoreEvent, type Reason, reasons } from "@longshore/core";
import { dropOldest } from "@longshore/core/internal";
import type { Log, LogFields } from "./log.ts";
import { inferenceEnded, type Metrics, modelSeen } from "./metrics.ts";
import type { SpanMaker } from "./spans.ts";

/** The targets of events. */
export interface Sinks {
  readonly metrics: Metrics;
  /** None as long as nothing is traced and there is no exporter. */
  readonly spans?: SpanMaker;
  readonly log: Log;
  /** Milliseconds since the Unix epoch. */
  readonly wallMs: () => number;
  /** Failures by call, so that each counts once. */
  readonly reported: Map<string, Reason>;
}

/** Failures that are remembered; the oldest goes. */
const maxTold = 1024;

type Mapping<Kind extends LongshoreEvent["kind"]> = (
  event: LongshoreEvent & { readonly kind: Kind },
  sinks: Sinks,
) => void;

/** The span that a line belongs to, if its request is traced. */
function spanOf({ spans }: Sinks, callId: string): LogFields {
  const trace = spans?.traceOf(callId);
  return trace ? { traceId: trace.traceId, spanId: trace.spanId } : {};
}

/**
 * The only table of the metrics, spans and log lines that follow from each event. A kind of event that
 * is added to the union does not compile until it has its line, be it an empty one.
 */
const table: { readonly [Kind in LongshoreEvent["kind"]]: Mapping<Kind> } = {
  "exchange-began": (event, { spans }) => spans?.exchangeBegan(event),
  "exchange-ended": (event, sinks) => {
    const { callId, status, tookMs } = event;
    sinks.metrics.replies.add([String(status)]);
    if (sinks.log.writes("verbose")) {
      sinks.log.line("verbose", "exchange", {
        request: callId,
        status,
        tookMs,
        ...spanOf(sinks, callId),
      });
    }
    sinks.spans?.exchangeEnded(event);
    sinks.reported.delete(callId);
  },
  "inference-asked": ({ model }, { metrics }) => metrics.demand.arrived(model),
  "endpoint-ran": (event, { metrics }) => metrics.demand.ran(event),
  "inference-began": (event, { spans }) => spans?.inferenceBegan(event),
  "inference-ended": (event, { metrics, log, wallMs }) => {
    inferenceEnded(metrics, event, wallMs);
    if (!log.writes("verbose")) return;
    const { callId: request, tenant, model, version, tookMs, outcome, answers, rows } = event;
    log.line("verbose", "inference", { request, tenant, model, version, tookMs, outcome, answers, rows });
  },
  "stage-ended": (event, { spans, log }) => {
    spans?.stageEnded(event);
    if (log.writes("verbose")) {
      log.line("verbose", "stage", {
        request: event.callId,
        stage: event.stage,
        name: event.name,
        tookMs: event.tookMs,
      });
    }
  },
  "batch-started": (event, { spans }) => spans?.batchStarted(event),
  "batch-run": (event, { spans, metrics }) => {
    metrics.batchRows.observe([event.model], event.size);
    spans?.batchRan(event);
  },
  "batch-parted": () => undefined,
  "graph-memory": () => undefined,
  failure: (event, sinks) => {
    const { callId, tenant, model, reason, stage, message } = event;
    // The engine tells of it, and the server that answers with it, too.
    if (sinks.reported.get(callId) === reason) return;
    sinks.reported.set(callId, reason);
    dropOldest(sinks.reported, maxTold);
    sinks.metrics.failures.add([reason, stage]);
    sinks.spans?.failed(event);
    // A caller's mistake is the caller's to read; a failure here is the operator's.
    const level =
      reason === "internal"
        ? "error"
        : reasons[reason].httpStatus >= 500 && reason !== "deadline-exceeded"
          ? "warning"
          : "info";
    sinks.log.line(level, "failure", {
      request: callId,
      tenant,
      model,
      reason,
      stage,
      message,
      ...spanOf(sinks, callId),
    });
  },
  "model-state": (event, { metrics, log }) => {
    const { model, version, state } = event;
    modelSeen(metrics, event);
    metrics.modelStates.add([model, state]);
    log.line(state === "unavailable" ? "error" : "info", "model", { model, version, state });
  },
  "settings-unused": ({ model, version, settings }, { log }) =>
    log.line("warning", "configuration", { model, version, withoutEffect: settings }),
  "folder-ignored": ({ folder, because }, { log }) =>
    log.line("warning", "repository", { folder, ignored: because }),
  "cache-asked": ({ model, version, outcome }, { metrics }) => {
    if (outcome === "joined") metrics.cacheJoined.add([model, version]);
  },
  "cache-changed": ({ entries, bytes, maxBytes, evicted }, { metrics }) => {
    metrics.cache = { entries, bytes, maxBytes };
    metrics.cacheEvicted.add([], evicted);
  },
  "request-repeated": ({ model, version }, { metrics }) => metrics.repeated.add([model, version]),
  "directory-changed": ({ directory, endpoint, change, serial, behindMs, because }, { metrics, log }) => {
    metrics.directoryChanges.add([change]);
    const level = change === "refused" ? "warning" : "info";
    log.line(level, "directory", { directory, endpoint, change, serial, behindMs, because });
  },
  "directory-state": ({ directory, state, ageMs, entries, because }, { log }) => {
    const level = state === "in touch" ? "info" : state === "too old" ? "error" : "warning";
    log.line(level, "directory", {
      directory,
      state,
      ageMs: Number.isFinite(ageMs) ? ageMs : undefined,
      entries,
      because,
    });
  },
  "rollout-changed": ({ kind: _kind, atMs: _atMs, ...facts }, { metrics, log }) => {
    metrics.rolloutChanges.add([facts.alias, facts.change]);
    log.line(facts.change === "rolled back" ? "error" : "info", "rollout", facts);
  },
  "rollout-compared": ({ alias, agreed }, { metrics }) =>
    metrics.rolloutCompared.add([alias, agreed ? "agreed" : "differed"]),
  "answer-checked": ({ endpoint, against, outcome }, { metrics }) =>
    metrics.answerChecks.add([endpoint, against === "golden input" ? against : "agreement", outcome]),
  "endpoint-quarantined": ({ endpoint, model, by, because, unseen }, { metrics, log }) => {
    metrics.quarantines.add([endpoint, by]);
    log.line("error", "quarantine", { endpoint, model, by, because, unseen });
  },
  "endpoint-readmitted": ({ endpoint, afterMs }, { log }) =>
    log.line("warning", "readmission", { endpoint, afterMs }),
  "provider-tried": ({ model, version, runtime, provider, taken, why }, { metrics, log }) => {
    metrics.providerLoads.add([model ?? "", provider, taken ? "taken" : "passed-over"]);
    // The processor is what everyone expects, unless the model asks for something else.
    if (taken && provider === "cpu" && why === undefined) return;
    log.line(
      taken && why === undefined ? "info" : "warning",
      taken ? "provider-taken" : "provider-passed-over",
      {
        model,
        version,
        runtime,
        provider,
        why,
      },
    );
  },
  "invariance-tested": ({ model, passed }, { log }) => log.line("info", "invariance", { model, passed }),
  "batching-decided": ({ model, maxRows, because, kept }, { log }) =>
    log.line("info", "batching", { model, maxRows, because, kept }),
  "plan-made": (event, { spans }) => spans?.planMade(event),
  "leg-started": ({ callId: request, leg, endpoint, trigger, expectedMs }, { log }) =>
    log.line("verbose", "leg", { request, leg, endpoint, trigger, expectedMs }),
  "leg-late": ({ callId: request, leg, endpoint, because, tookMs, begun }, { log }) =>
    log.line("verbose", "leg late", { request, leg, endpoint, because, tookMs, begun }),
  "leg-ended": (event, { spans, metrics, log }) => {
    const { callId: request, leg, endpoint, outcome, tookMs } = event;
    metrics.legs.add([endpoint, outcome]);
    spans?.legEnded(event);
    log.line("verbose", "leg ended", { request, leg, endpoint, outcome, tookMs });
  },
  "request-sent": (event, { spans, metrics }) => {
    metrics.sent.add([event.endpoint, event.outcome]);
    metrics.sentSeconds.observe([event.endpoint], event.tookMs / 1000);
    spans?.requestSent(event);
  },
  "cost-charged": ({ tenant, model, endpoint, micros }, { metrics }) =>
    metrics.costMicros.add([tenant, model, endpoint], micros),
  "carbon-counted": ({ tenant, model, endpoint, micrograms }, { metrics }) => {
    if (micrograms === undefined) metrics.carbonUnknown.add([tenant, model, endpoint]);
    else metrics.carbonGrams.add([tenant, model, endpoint], micrograms / 1e6);
  },
  "request-accepted": () => undefined,
  "request-ended": () => undefined,
  "bytes-acknowledged": () => undefined,
};

/** Turns an event into whatever it means. */
export function mapped(event: LongshoreEvent, sinks: Sinks): void {
  // The table has for each kind a mapping of that very kind; the compiler cannot follow the pair through a union.
  (table[event.kind] as (event: LongshoreEvent, sinks: Sinks) => void)(event, sinks);
}
