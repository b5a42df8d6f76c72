export {
  type Counters,
  type CountAndTime,
  createCounters,
  type TritonFailure,
  type ModelCounters,
} from "./counters.ts";
export { demandMetrics } from "./demand.ts";
export { ExchangeEvents, InferenceEvents } from "./exchange-events.ts";
export {
  createLog,
  type Log,
  type LogFields,
  type LogLevel,
  type LogRecord,
  type LogSettings,
  settingsFor,
} from "./log.ts";
export { type MachineUse, requestDurationBounds } from "./metrics.ts";
export {
  type LogExporter,
  type MetricExporter,
  otlpExporter,
  otlpLogExporter,
  otlpMetricExporter,
  type OtlpParts,
  type SpanExporter,
  type SpanOutcome,
} from "./otlp.ts";
export {
  bounds,
  type Counter,
  counter,
  type Family,
  gauge,
  histogram,
  metricsForm,
  metricsText,
  metricsTypes,
} from "./registry.ts";
export { serverTiming, serverTimingHeader } from "./server-timing.ts";
export type { Span, SpanLink } from "./spans.ts";
export { statisticsOf } from "./statistics.ts";
export { createTelemetry, type Telemetry, type TelemetryParts } from "./telemetry.ts";
export { createTracing, type Traced, type TraceSettings, type Tracing } from "./tracing.ts";
