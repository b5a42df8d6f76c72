/** Latencies above this weigh alike. */
const longestMs = 9e6;

/**
 * The chance of a wrong answer in steps of a ten-thousandth, then latency. Where accuracy was not measured, agreement with
 * the default variant stands for it.
 */
export function accuracyScore(accuracyRatio: number, agreementRatio: number, latencyMs: number): number {
  const right = Number.isNaN(accuracyRatio) ? agreementRatio : accuracyRatio;
  return Math.round((1 - right) * 1e4) * 1e7 + Math.min(latencyMs, longestMs);
}
