import type { Holding } from "../../body/index.ts";
import type { InferenceEvents } from "../../telemetry/index.ts";
import type { Api, IncomingRequest } from "../parts.ts";
import type { Head, InferRoute } from "./parse.ts";
import type { InferencePlan } from "./plan.ts";

/** An inference with a parsed and planned head. */
export interface Inference {
  readonly api: Api;
  readonly route: InferRoute;
  readonly incoming: IncomingRequest;
  readonly head: Head;
  readonly plan: InferencePlan;
  readonly events: InferenceEvents;
  /** Resources held until it ends. */
  readonly held: Holding;
  /** Time at which it began. */
  readonly startedMs: number;
  /** Time at which its body was requested. */
  readonly askedMs: number;
}
