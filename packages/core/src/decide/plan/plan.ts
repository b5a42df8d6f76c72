import type { EndpointId } from "../../words/base/index.ts";
import type { CodecId } from "../../words/codec/index.ts";
import type { DirectorySnapshot } from "../../fleet/directory/index.ts";
import type { Bet } from "../estimate/index.ts";
import type { Estimate } from "../../words/estimate/index.ts";
import type { CutId, Segment } from "../../words/model/index.ts";
import type { Objective, Stages } from "../goal/index.ts";

export type LegId = string;

/**
 * When a leg starts. Guard, hedge, fallback, cascade and forward are plans made of legs with triggers, not mechanisms of
 * their own.
 */
export type Trigger =
  | { readonly on: "begin" }
  | { readonly on: "done"; readonly leg: LegId }
  | { readonly on: "failed"; readonly leg: LegId }
  /** The guard chooses the moment from the estimate and the progress so far, at the latest `latestMs` after the leg began. */
  | { readonly on: "late"; readonly leg: LegId; readonly latestMs: number }
  | { readonly on: "unsure"; readonly leg: LegId; readonly belowRatio: number };

/** The expected time, energy and cost of a plan or of one leg. */
export interface Predicted {
  readonly completionMs: Estimate;
  readonly deviceMillijoules: number;
  readonly costMicros: number;
  /** The greatest cost, in micros; Infinity if a price is not known. */
  readonly mostMicros: number;
  /** Micrograms of CO2; absent if nothing is stated, or if the intensity of a zone or the energy of a run is not known. */
  readonly carbonMicrograms?: number;
  readonly agreementRatio: number;
  readonly accuracyRatio: number | undefined;
  readonly sentBytes: number;
}

/** A segment on an endpoint that starts on a trigger. */
export interface Leg {
  readonly id: LegId;
  readonly segment: Segment;
  readonly endpoint: EndpointId;
  /** The leg whose output it uses. */
  readonly takes: LegId | "request";
  /** How its inputs travel, by tensor name; absent names travel raw. */
  readonly codecs: Readonly<Record<string, CodecId>>;
  readonly state: "none" | "resident" | "carried";
  /** Any of these starts it. */
  readonly starts: readonly Trigger[];
  readonly spends: "nothing" | "hedge token";
  /** Of this leg alone, from its start. */
  readonly predicted: Predicted;
  /** For a leg here: how long it occupies the device, without waiting for it, in milliseconds. */
  readonly holdsMs?: number;
  /** For a leg elsewhere with a possible local back-up: the expected loss of the try. */
  readonly bet?: Bet;
  /** For a leg elsewhere: transfer there, queue and run, transfer back. The guard watches these. */
  readonly travels?: Travels;
}

/** The parts of a leg elsewhere. */
export interface Travels {
  readonly upMs: Estimate;
  /** Queue, penalty, decoding and run, corrected by observations. */
  readonly thereMs: Estimate;
  readonly downMs: Estimate;
  /** Mean run time that the endpoint promised. */
  readonly promisedMs: number;
}

/** An alternative that was not chosen, and why: the rule or limit that removed it, or the score by which it lost. */
export interface LostCandidate {
  readonly endpoint: EndpointId;
  readonly variant: string;
  readonly cut: string;
  readonly codecs: Readonly<Record<string, CodecId>>;
  readonly why:
    | { readonly kind: "filter"; readonly filter: FilterName; readonly detail: string }
    // `score` is a lower bound: that of the best candidate behind this line, or of the chosen one on its own path.
    | { readonly kind: "score"; readonly score: number; readonly bestScore: number };
  /** Number of similar candidates behind this line. */
  readonly count: number;
}

/** The rules and limits that remove candidates. */
export type FilterName =
  | "zone"
  | "trust"
  | "rights"
  | "data-class"
  | "deadline"
  | "memory"
  | "energy"
  | "cost"
  | "agreement"
  | "accuracy"
  | "tier"
  | "state"
  | "unavailable"
  | "only"
  | "loop"
  | "codec";

/** Age of the list of endpoints, and entries that are not trusted, if a directory reports them. */
export type DirectoryAge = Omit<DirectorySnapshot, "entries">;

/** An immutable, explainable choice. */
export interface Plan {
  readonly schemaVersion: 1;
  /** Number of the view it was made from. */
  readonly view: number;
  readonly model: string;
  readonly variant: string;
  /** The cut whose crossing it starts from: later than `start` if the plan was made on the way. */
  readonly from: CutId;
  readonly objective: Objective;
  /** In the order in which they would start. Together they produce the answer. */
  readonly legs: readonly Leg[];
  readonly predicted: Predicted;
  /** The stages that it occupies, if throughput is the objective. */
  readonly stages?: Stages;
  /** One sentence for people. */
  readonly because: string;
  readonly candidates: number;
  readonly lost: readonly LostCandidate[];
  /** Other endpoints that could run it, the best first; only for `PlanRequest.listed`. */
  readonly alternatives?: readonly EndpointId[];
  readonly directory?: DirectoryAge;
}

/** No endpoint is allowed or able: a value inside, thrown as `no-endpoint` or `policy-denied` at the face. */
export interface Infeasible {
  readonly infeasible: true;
  /** The constraint that removed the last candidates. */
  readonly filter: FilterName;
  readonly because: string;
  readonly lost: readonly LostCandidate[];
  readonly directory?: DirectoryAge;
}

/**
 * Tells the two outcomes of planning apart.
 *
 * @example
 * ```ts
 * import { isInfeasible, openOffloader } from "longshore";
 *
 * const offloader = await openOffloader({ repository: "models" });
 * const plan = await offloader.explain("double", { x: new Float32Array(2) });
 * console.log(isInfeasible(plan) ? "nothing can run it" : plan.legs[0]?.endpoint); // device
 * await offloader.close();
 * ```
 */
export function isInfeasible(outcome: Plan | Infeasible): outcome is Infeasible {
  return "infeasible" in outcome;
}
