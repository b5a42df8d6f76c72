import type { AnswerCounters, Counters, ModelCounters } from "./counters.ts";

/** What Triton tells of answers in one place; making them into messages is not told apart from making them. */
function answerStatistics({ success, fail, cancel }: AnswerCounters): object {
  return {
    compute_infer: success,
    compute_output: { count: success.count, ns: 0 },
    success,
    fail,
    empty_response: { count: 0, ns: 0 },
    cancel,
  };
}

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
    response_stats: Object.fromEntries(
      [...one.answers].map(([place, answers]) => [String(place), answerStatistics(answers)]),
    ),
    batch_stats: batches.map(({ size, count, ns }) => ({
      batch_size: size,
      compute_input: { count, ns: 0 },
      compute_infer: { count, ns },
      compute_output: { count, ns: 0 },
    })),
    memory_usage: [],
  };
}
