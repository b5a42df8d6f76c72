import type {
  Clock,
  DirectorySnapshot,
  EndpointId,
  LoadReport,
  LongshoreEvent,
  Observer,
  Random,
} from "@longshore/core";
import { DeferredWork, type Writable } from "@longshore/core/internal";
import { type CountersRead, createCounters } from "./counters.ts";
import { createLog, type Log } from "./log.ts";
import { createMetrics, type MachineUse, type Metrics } from "./metrics.ts";
import { metricsForm, metricsTypes } from "./registry.ts";
import { type Span, spanMaker } from "./spans.ts";
import { mapped, type Sinks } from "./table.ts";
import { createTenantCounters } from "./tenant-counters.ts";
import { createTracing, type Tracing } from "./tracing.ts";

/** The parts of telemetry. */
export interface TelemetryParts {
  readonly clock: Clock;
  readonly random: Random;
  /** Default: one that writes nowhere. */
  readonly log?: Log;
  /** Which requests are traced. Default: none. */
  readonly tracing?: Tracing;
  /** Takes finished spans and returns at once. Default: they are dropped. */
  readonly spans?: (span: Span) => void;
  readonly load?: () => LoadReport;
  readonly machine?: () => MachineUse;
  readonly directory?: () => DirectorySnapshot | undefined;
  /** Endpoints whose answers are checked. */
  readonly checked?: () => Iterable<EndpointId>;
}

/**
 * Metrics, traces and logs of one server, all made from the events that `observer` is given. The events of a request are
 * processed after its answer, and before the next read of any count.
 */
export interface Telemetry {
  readonly observer: Observer;
  /** Of all tenants, as of now. */
  readonly counters: CountersRead;
  /** Of one tenant's own requests, as of now. */
  tenantCounters(tenant: string): CountersRead;
  readonly metrics: Metrics;
  readonly log: Log;
  readonly tracing: Tracing;
  /** The metrics that a reader may see, in the form that an `accept` header names; `pieces` is work in steps. */
  metricsPage(accept: string | undefined, sees?: (model: string) => boolean): MetricsPage;
  /** Processes the events so far, before the process ends. */
  settle(): void;
}

/** Recorded for every request, and written to the log only at its most detailed level. */
const frequent: ReadonlySet<LongshoreEvent["kind"]> = new Set([
  "exchange-began",
  "exchange-ended",
  "inference-asked",
  "inference-began",
  "inference-ended",
  "stage-ended",
  "batch-started",
  "batch-run",
  "batch-parted",
  "cache-asked",
  "plan-made",
  "leg-started",
  "leg-ended",
  "endpoint-ran",
  "request-sent",
  "request-accepted",
  "request-ended",
  "bytes-acknowledged",
]);

/** Only spans and lines of the log's most detailed level are made of these. */
const details: readonly LongshoreEvent["kind"][] = ["stage-ended", "plan-made", "leg-started"];
/** Nothing is made of these here. */
const unused: readonly LongshoreEvent["kind"][] = ["request-accepted", "request-ended", "bytes-acknowledged"];

/** A page of metrics that is still to be written, and its media type. */
interface MetricsPage {
  readonly pieces: Generator<void, readonly Uint8Array[]>;
  readonly type: string;
}

/** The time of day comes in whole milliseconds, which is coarser than a span: beyond this the clock was set again. */
const jumpMs = 5;

/** Turns instants of the clock into times of day that keep their distances. */
function wallOf(clock: Clock): (atMs: number) => number {
  let offsetMs = clock.wallMs() - clock.nowMs();
  return (atMs) => {
    const now = clock.wallMs() - clock.nowMs();
    if (Math.abs(now - offsetMs) > jumpMs) offsetMs = now;
    return atMs + offsetMs;
  };
}

/** Telemetry from zero. Give its observer to everything that records events: handler, engine, endpoints. */
export function createTelemetry(parts: TelemetryParts): Telemetry {
  const { clock, random } = parts;
  const wallMs = (): number => clock.wallMs();
  const counters = createCounters(wallMs);
  const tenants = createTenantCounters(wallMs);
  const metrics = createMetrics({
    counters,
    ...(parts.load ? { load: parts.load } : {}),
    ...(parts.machine ? { machine: parts.machine } : {}),
    ...(parts.directory ? { directory: parts.directory } : {}),
    ...(parts.checked ? { checked: parts.checked } : {}),
  });
  const log = parts.log ?? createLog(clock, () => undefined, "none");
  const tracing = parts.tracing ?? createTracing(random);
  const sinks: Writable<Sinks> = { metrics, log, wallMs, reported: new Map() };
  const makeSpans = (give: (span: Span) => void): void => {
    sinks.spans = spanMaker(random, wallOf(clock), give);
  };
  if (parts.spans) makeSpans(parts.spans);
  const take = (event: LongshoreEvent): void => {
    // Log lines name the trace of a request, even if no exporter takes its spans.
    if (!sinks.spans && event.kind === "exchange-began" && event.trace) makeSpans(() => undefined);
    counters.observer.record(event);
    tenants.observer.record(event);
    mapped(event, sinks);
  };
  const deferred = new DeferredWork(clock, take);
  const skipped = new Set(parts.spans ? unused : [...unused, ...details]);
  return {
    get counters() {
      deferred.settle();
      return counters;
    },
    tenantCounters(tenant) {
      deferred.settle();
      return tenants.of(tenant);
    },
    metrics,
    log,
    tracing,
    observer: {
      record(event) {
        if (frequent.has(event.kind) && !log.writes("verbose")) {
          if (!skipped.has(event.kind)) deferred.add(event);
          return;
        }
        deferred.settle();
        take(event);
      },
    },
    settle: deferred.settle,
    metricsPage(accept, sees) {
      deferred.settle();
      const form = metricsForm(accept);
      return { pieces: metrics.text(form, sees), type: metricsTypes[form] };
    },
  };
}
