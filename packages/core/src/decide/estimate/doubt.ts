import { type Estimate, estimateSize } from "../../words/estimate/index.ts";

/** In doubt, what takes longer than so many local runs counts as that: a second run would end it. */
const doubtLimit = 2;

/**
 * What it would be worth to know now how a remote request ends, in local runs: 0 where the belief says clearly which endpoint is
 * quicker. It says whether a probe can change a decision.
 */
export function doubtOf(remoteMs: Estimate, localMs: number): number {
  // What takes no time here is decided.
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
