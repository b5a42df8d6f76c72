export { type BatchCounters, type Counters, createCounters, type ModelCounters } from "./counters.ts";
export { createLog, type Log, type LogFields, type LogLevel, type LogSettings, settingsFor } from "./log.ts";
export { metricsText } from "./metrics.ts";
export { statisticsOf } from "./statistics.ts";
export { createTracing, type Traced, type TraceSettings, type Tracing } from "./tracing.ts";
