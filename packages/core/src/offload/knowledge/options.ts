import type { Clock, Observer } from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import type { BeliefMemory } from "../../decide/estimate/index.ts";

/** How knowledge of endpoints is kept. */
export interface UpkeepOptions {
  /** Interval at which offers of models in use are polled, in milliseconds; default 5,000. */
  readonly refreshMs?: number;
  /** A model without use for this long is no longer polled, in milliseconds; default 60,000. */
  readonly idleMs?: number;
  /** How long the first use of a model waits for further endpoints once one is known that can run it, in milliseconds; default 300. */
  readonly firstWaitMs?: number;
  /** How long the first use of a model waits for the first endpoint that can run it, in milliseconds; default 10,000, at most the deadline. */
  readonly firstOfferMs?: number;
  /**
   * Average load polls per request at endpoints that other clients use, too: before its decision if polling takes hardly any time,
   * otherwise after it; default 3.
   */
  readonly loadProbesPerRequest?: number;
  /** An endpoint that does not send its offers in this time counts as not answering, in milliseconds; default 3,000. */
  readonly pollTimeoutMs?: number;
}

/** Inputs of `knowledgeOf`. */
export interface KnowledgeParts {
  readonly clock: Clock;
  readonly observer: Observer;
  /** Runs models on this device. */
  readonly local?: Endpoint;
  /** Checks whether models that came from elsewhere were replaced there. Never rejects. */
  readonly lookAgain?: () => Promise<void>;
  readonly upkeep?: UpkeepOptions;
  /** Beliefs of an earlier process about this device. Default: none. */
  readonly beliefs?: BeliefMemory;
}

/** The options with their defaults. */
export type Intervals = Required<Omit<UpkeepOptions, "loadProbesPerRequest">>;

/** Fills in the defaults. */
export function intervalsOf({ upkeep = {} }: KnowledgeParts): Intervals {
  return {
    refreshMs: upkeep.refreshMs ?? 5000,
    idleMs: upkeep.idleMs ?? 60_000,
    firstWaitMs: upkeep.firstWaitMs ?? 300,
    firstOfferMs: upkeep.firstOfferMs ?? 10_000,
    pollTimeoutMs: upkeep.pollTimeoutMs ?? 3000,
  };
}
