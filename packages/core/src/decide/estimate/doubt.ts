import { type Estimate, estimateSize } from "../../words/estimate/index.ts";

/** Remote times above this many local runs are cut to it: a second run here would end the request. */
const doubtLimit = 2;

/**
 * Value of knowing how a remote request ends, in local runs. It is 0 if the belief clearly says which endpoint is faster. It shows whether
 * a probe can change a decision.
 */
export function doubtOf(remoteMs: Estimate, localMs: number): number {
  // A run here that takes no time needs no comparison.
  if (!(localMs > 0)) return 0;
  let told = 0;
  let blind = 0;
  for (let index = 0; index < estimateSize; index++) {
    const remote = remoteMs.values[index] ?? 0;
    told += Math.min(remote, localMs);
    blind += Math.min(remote, doubtLimit * localMs);
  }
  return (Math.min(blind / estimateSize, localMs) - told / estimateSize) / localMs;
}
