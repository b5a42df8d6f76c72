import type { Objective } from "../plan.ts";
import { accuracyScore } from "./accuracy.ts";
import { costScore } from "./cost.ts";
import { energyScore } from "./energy.ts";

/** Smaller is better. Latency decides between candidates that are alike in the objective. */
export function scoreOf(
  objective: Objective,
  latencyMs: number,
  deviceMillijoules: number,
  costMicros: number,
  accuracyRatio: number,
  agreementRatio: number,
  paceMs: number,
): number {
  if (objective === "latency") return latencyMs;
  if (objective === "throughput") return paceMs + latencyMs * 1e-6;
  if (objective === "energy") return energyScore(deviceMillijoules, latencyMs);
  if (objective === "cost") return costScore(costMicros, latencyMs);
  return accuracyScore(accuracyRatio, agreementRatio, latencyMs);
}
