import type { Holding } from "../../body/index.ts";
import type { InferenceEvents } from "../../telemetry/index.ts";
import type { Api, Asked } from "../parts.ts";
import type { Head, InferRoute } from "./parse.ts";
import type { InferencePlan } from "./plan.ts";

/** An inference whose head was parsed and planned. */
export interface Inference {
  readonly api: Api;
  readonly route: InferRoute;
  readonly asked: Asked;
  readonly head: Head;
  readonly plan: InferencePlan;
  readonly events: InferenceEvents;
  /** What is held for it until it is over. */
  readonly held: Holding;
  /** When it began. */
  readonly startedMs: number;
  /** When its body was asked for. */
  readonly askedMs: number;
}
