import { LongshoreError } from "@longshore/core";

/** The error for a request whose model is not loaded yet. */
export function notLoaded(model: string): LongshoreError {
  return new LongshoreError(
    "unknown-model",
    "resolve",
    `Request for unknown model: '${model}' is not found: it is not loaded here; load it first`,
  );
}

/** The error of a failed load, in the words that Triton's clients look for. */
export function failedLoad(model: string, thrown: unknown): LongshoreError {
  const error = LongshoreError.from(thrown, "resolve", `loading model ${model}`);
  return new LongshoreError(error.reason, error.stage, `failed to load '${model}', ${error.message}`, {
    cause: error,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
  });
}

/** The text of an error, for the index. */
export function errorText(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
