import type { Call, EndpointId } from "../../words/base/index.ts";
import type { InferenceRequest } from "../../wire/endpoint/index.ts";
import type { CutId } from "../../words/model/index.ts";
import type { PlanLimits } from "../../decide/goal/index.ts";
import type { HeldCrossing } from "../steps/index.ts";
import type { SequenceStep } from "../sequence/index.ts";
import type { Purse } from "../account/index.ts";
import type { NextEndpoint } from "../check/index.ts";
import type { Backlog } from "../frames/index.ts";
import type { KnownModel } from "../models/index.ts";
import type { ProgressNote } from "../offloader/index.ts";

/** No endpoint. */
export const noEndpoints: ReadonlySet<EndpointId> = new Set();

/** Links one of several runs of a request, each for an independent answer, to the others. */
export interface SiblingRuns {
  /** Endpoints that the other runs use: a second answer from one of them confirms nothing. */
  taken(): ReadonlySet<EndpointId>;
  /** Records that a leg of this run begins there. */
  begins(endpoint: EndpointId): void;
  /** Records that the endpoint refused the leg as overloaded: another run may use it. */
  refused(endpoint: EndpointId): void;
  /** It is late, or `lost`, and its plan leads nowhere else; see `NextEndpoint`. */
  readonly late: NextEndpoint["late"];
  /** Whether endpoints that are paused for silence are left out. */
  readonly onlyWell: boolean;
}

/** Parts of a request that the loop itself does not read. */
export type RequestExtras = Pick<
  InferenceRequest,
  "outputs" | "classes" | "parameters" | "leastAgreementRatio" | "pass" | "wire"
>;

/** A request for one content of a model, with everything converted and defaults filled in. */
export interface Asked {
  readonly known: KnownModel;
  /** The crossing that it begins with. */
  readonly held: HeldCrossing;
  readonly to: CutId;
  readonly call: Call;
  readonly sequence?: SequenceStep | undefined;
  /** Fields of the request that its legs pass on. */
  readonly extras?: RequestExtras;
}

/** The terms of each plan of a request. */
export interface PlanTerms {
  readonly limits: PlanLimits;
  /** The budget left of `limits.maxCostMicros`, for all plans and legs of the request; undefined without a limit. */
  readonly purse?: Purse | undefined;
  /** Whether one endpoint runs it from start to end: it gives several answers, or must not be split. */
  readonly whole?: boolean;
  /** Whether it is a frame of a stream, each of which waits for those before it. It uses another plan while its best plan loads a part. */
  readonly frame?: boolean;
  /** The load of other requests, which its plan sees and adds to, where throughput is the objective. */
  readonly traffic?: Backlog | undefined;
  /**
   * The text of its plans, for a sender that reads less than all: no explanation, or instead of it the other endpoints, for a sender that
   * retries by itself. Default: the explanation.
   */
  readonly tells?: "nothing" | "alternatives";
}

/** A request that can be planned. */
export interface Plannable extends Asked, PlanTerms {}

/** The terms of the runs of a request. */
interface RunTerms {
  /**
   * Two endpoints must give the answer: `elsewhere` unless it is computed here, `everywhere` in any case. Only this endpoint enforces it;
   * the rules of the forwarded call no longer contain it.
   */
  readonly confirm?: "elsewhere" | "everywhere";
  /** Of one of the opinions that confirm an answer. */
  readonly beside?: SiblingRuns | undefined;
  /** Whether it was not judged at admission: its first plan does that. */
  readonly unjudged?: true;
  readonly note?: ((note: ProgressNote) => void) | undefined;
}

/** One request on its way through the loop. A function takes the part of it that it reads. */
export interface Job extends Plannable, RunTerms {}
