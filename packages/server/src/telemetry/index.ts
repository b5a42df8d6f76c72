export { type BatchCounters, type Counters, createCounters, type ModelCounters } from "./counters.ts";
export { metricsText } from "./metrics.ts";
export { statisticsOf } from "./statistics.ts";
