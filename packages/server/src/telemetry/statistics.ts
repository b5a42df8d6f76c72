import type { Counters, ModelCounters } from "./counters.ts";

/** One version's entry of `GET v2/models/{m}/stats`, in the shape that Triton's clients read. */
export function statisticsOf(one: ModelCounters, counters: Counters): object {
  const batches = counters.batches(one.model);
  return {
    name: one.model,
    version: one.version,
    last_inference: one.lastInferenceMs,
    inference_count: one.inferences,
    execution_count: one.executions,
    inference_stats: one.times,
    response_stats: {},
    batch_stats: batches.map(({ size, count, ns }) => ({
      batch_size: size,
      compute_input: { count, ns: 0 },
      compute_infer: { count, ns },
      compute_output: { count, ns: 0 },
    })),
    memory_usage: [],
  };
}
