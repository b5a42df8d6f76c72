import type { CountersRead, ModelCounters } from "./counters.ts";

/** One version's entry of `GET v2/models/{m}/stats`, in the shape that Triton's clients read. */
export function statisticsOf(one: ModelCounters, counters: CountersRead): object {
  const batches = counters.batches(one.model, one.version);
  const bytes = counters.memoryBytes(one.model, one.version);
  return {
    name: one.model,
    version: one.version,
    last_inference: one.lastInferenceMs,
    inference_count: one.inferences,
    execution_count: one.executions,
    inference_stats: one.times,
    response_stats: Object.fromEntries(
      [...one.answers].map(([position, answers]) => [String(position), answers]),
    ),
    batch_stats: batches.map(({ size, times }) => ({ batch_size: size, ...times })),
    memory_usage: bytes > 0 ? [{ type: "CPU", id: 0, byte_size: bytes }] : [],
  };
}
