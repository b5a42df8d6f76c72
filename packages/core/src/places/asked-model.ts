import type { EndpointId, LongshoreError } from "../base/index.ts";
import type { Heard, KnownModel } from "./known-model.ts";

/** A model that was asked for: who said what of it, and how the questions stand. */
export interface AskedModel {
  readonly model: string;
  readonly version: string | undefined;
  readonly heard: Map<EndpointId, Heard>;
  /** Why places did not say what they have when they were asked last. */
  readonly unsaid: Map<EndpointId, LongshoreError>;
  /** Places that failed and will be asked again by themselves. */
  readonly due: Set<EndpointId>;
  local: Heard | undefined;
  known: KnownModel | undefined;
  usedAtMs: number;
  askedAtMs: number;
  asking: Promise<void> | undefined;
  /** What places said lately will be put together. */
  digesting: Disposable | undefined;
  /** The place here answered the round of questions under way. */
  localDone: Promise<void> | undefined;
  /** Until when the first use of the model waits for the first round of questions. */
  newUntilMs: number;
}

/** Nothing was heard yet. */
export function askedModel(model: string, version: string | undefined, nowMs: number): AskedModel {
  return {
    model,
    version,
    heard: new Map(),
    unsaid: new Map(),
    due: new Set(),
    local: undefined,
    known: undefined,
    usedAtMs: nowMs,
    askedAtMs: -Infinity,
    asking: undefined,
    digesting: undefined,
    localDone: undefined,
    newUntilMs: Infinity,
  };
}
