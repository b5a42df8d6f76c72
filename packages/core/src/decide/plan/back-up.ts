import type { LocalObstacle } from "./filter/local-endpoint.ts";
import type { Choice } from "./choices.ts";
import type { Priced } from "./priced.ts";

/** One way to do everything here, and what keeps it from being chosen. */
export interface LocalCandidate {
  readonly choice: Choice;
  readonly priced: Priced | undefined;
  readonly obstacle: LocalObstacle | undefined;
  /** It could still serve as a back-up: only the deadline is against it. */
  readonly backUp: boolean;
}

/** The local run for a remote run that is late or fails. */
export interface BackUp {
  readonly choice: Choice;
  /** The cut it starts from, and whether it uses the output of the local head or the crossing of the request. */
  readonly from: number;
  readonly takes: "head" | "request";
  readonly values: Float64Array;
  /** Time of the local head that must run before it can start; undefined if it can start at once. */
  readonly head: Float64Array | undefined;
  readonly deviceMillijoules: number;
  readonly costMicros: number;
  readonly mostMicros: number;
  readonly carbonMicrograms: number;
}
