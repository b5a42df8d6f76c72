import type { Clock, Observer, Random, TenantId } from "@longshore/core";
import type { ModelSource } from "../repository/index.ts";
import type { Runtime } from "../runtime/index.ts";
import type { GoldenSamples } from "./provider-trials.ts";
import type { RateLimiter } from "./rate-limiter.ts";
import type { Scheduler } from "./scheduler-interface.ts";
import type { UnaskedBatching } from "./unasked.ts";

interface GraphPoolLimits {
  /** Whole graphs, and parts between inner cuts, that stay loaded; the least recently used idle ones go. */
  readonly maxGraphs: number;
  readonly maxParts: number;
  readonly maxQueued: number;
  /** Bytes that loaded graphs may hold by their estimates. */
  readonly maxModelBytes: number;
  /** The cores that runs share, and the number that one run uses. */
  readonly cores: number;
  readonly threads: number;
}

export interface GraphPoolParts {
  readonly source: ModelSource;
  readonly runtimes: readonly Runtime[];
  readonly sandbox?: Runtime;
  /** Whether instances that want a GPU may have the processor instead. Default false. */
  readonly gpuFallback?: boolean;
  /** Inputs on which execution providers are compared with the processor. Default: random ones. */
  readonly samples?: GoldenSamples;
  readonly limits: GraphPoolLimits;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  /** Shared resources that runs take; undefined: instances need nothing of each other. */
  readonly limiter?: RateLimiter | undefined;
  /** Share of a tenant relative to others. Default: 1 for all. */
  readonly weightOf?: (tenant: TenantId) => number;
  /** Joins requests for graphs whose configuration does not enable it. Default: they run one by one. */
  readonly unasked?: UnaskedBatching | undefined;
  /** Called with each scheduler that ends and waits for reserved positions. It has no leases. */
  readonly ending?: (scheduler: Scheduler) => void;
}
