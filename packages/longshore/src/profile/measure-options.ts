import type { Clock, Codec, Endpoint, Tensors } from "@longshore/core";
import type { Engine } from "@longshore/engine";
import type { ProfileNote } from "@longshore/graph";

/** How much is measured: more takes longer and is firmer. */
export interface MeasureOptions {
  readonly engine: Engine;
  /** Endpoints with the models of steps that are not here; their runs are measured with the way there. Default: none. */
  readonly endpoints?: readonly Endpoint[];
  readonly clock: Clock;
  readonly model: string;
  readonly runtime: string;
  readonly samples: readonly Tensors[];
  readonly rounds?: number;
  readonly maxCuts?: number;
  readonly variants?: readonly string[];
  readonly codecs?: readonly Codec[];
  readonly progress?: (note: ProfileNote) => void;
  /** No further cut is measured after this moment of the clock. Default: all are. */
  readonly untilMs?: number;
}
