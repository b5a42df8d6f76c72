import type { Call, EndpointId } from "../../words/base/index.ts";
import { canBegin, isUnderWay } from "../../wire/body/index.ts";
import type { InferenceRequest } from "../../wire/endpoint/index.ts";
import type { CutId } from "../../words/model/index.ts";
import type { PlanLimits } from "../../decide/goal/index.ts";
import type { Held } from "../steps/index.ts";
import type { SequenceStep } from "../sequence/index.ts";
import type { Purse } from "../account/index.ts";
import type { Wanted } from "../check/index.ts";
import type { Backlog } from "../frames/index.ts";
import type { KnownModel } from "../models/index.ts";
import type { ProgressNote } from "../offloader/index.ts";
import type { Retries } from "./retries.ts";

/** No endpoint. */
export const nobody: ReadonlySet<EndpointId> = new Set();

/** What one of several opinions about a request has to do with the others. */
export interface Beside {
  /** Where others were asked so far: what is said there a second time confirms nothing. */
  taken(): ReadonlySet<EndpointId>;
  /** A leg of this one begins there. */
  begins(endpoint: EndpointId): void;
  /** It did not take that leg, since it had too much to do: another one may ask there. */
  refused(endpoint: EndpointId): void;
  /** It is late, or `lost`, and its plan leads nowhere else; see `Wanted`. */
  readonly late: Wanted["late"];
  /** It is not worth asking who is left alone for having been silent. */
  readonly onlyWell: boolean;
}

/** Parts of a request that the loop itself does not read. */
export type AskedFor = Pick<
  InferenceRequest,
  "outputs" | "classes" | "parameters" | "leastAgreementRatio" | "pass" | "wire"
>;

/** One request on its way through the loop, with everything converted and defaults filled in. */
export interface Job {
  readonly known: KnownModel;
  readonly held: Held;
  readonly to: CutId;
  readonly limits: PlanLimits;
  /** What is left of `limits.maxCostMicros`, for all plans and legs of the request; undefined without a limit. */
  readonly purse?: Purse | undefined;
  readonly call: Call;
  /**
   * Two endpoints must give its answer: `elsewhere`, unless it is made here; `everywhere`, also then. Only this endpoint sees to that:
   * the rules of its call do not say so any more.
   */
  readonly confirm?: "elsewhere" | "everywhere";
  /** Of one of the opinions that confirm an answer. */
  readonly beside?: Beside | undefined;
  readonly sequence?: SequenceStep | undefined;
  readonly note?: ((note: ProgressNote) => void) | undefined;
  /** One of many, each of which waits for those before it: it goes another way while what its plan needs is being loaded. */
  readonly frame?: boolean;
  /** It has one endpoint from begin to end: several answers come of it, or nothing is to be split. */
  readonly whole?: boolean;
  /** Another endpoint asks, which hears nothing of why its plan was made. */
  readonly unexplained?: true;
  /** Nobody judged it at the door: its first plan does. */
  readonly unjudged?: true;
  /** An endpoint that the plan may use although nothing is sent there now: its answer is only looked at, or nothing else is left. */
  readonly proving?: EndpointId | undefined;
  /** Its endpoint broke: whoever is left is asked, however much is believed of it, as long as there is time. */
  readonly evenLate?: boolean;
  /** Retries at endpoints that failed it; undefined where each is asked once. */
  readonly again?: Retries | undefined;
  /** What of the request its legs carry on. */
  readonly asked?: AskedFor;
  /** Where its plan sees what others keep busy, and is seen: where throughput is the objective. */
  readonly traffic?: Backlog | undefined;
}

/** Whether what was sent to this endpoint is still on its way here. */
export function isWaiting({ asked }: Job, { arriving }: Held): boolean {
  return arriving !== undefined && asked?.wire !== undefined && isUnderWay(asked.wire.body);
}

/** Whether what was sent on cannot be sent anywhere else: it is not kept here. */
export function isGone({ asked }: Job, { arriving }: Held): boolean {
  return arriving !== undefined && asked?.wire !== undefined && !canBegin(asked.wire.body);
}
