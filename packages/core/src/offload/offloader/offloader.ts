import type { DataClass, EndpointId, TraceContext, TrustLevel, ZoneId } from "../../words/base/index.ts";
import type { Account } from "../../wire/endpoint/index.ts";
import type { Inputs } from "../../words/model/index.ts";
import type { Objective, Only } from "../../decide/goal/index.ts";
import type { Infeasible, Plan } from "../../decide/plan/index.ts";
import type { FrameLimits, FrameOutcome } from "../frames/index.ts";
import type { Outputs } from "../../words/tensor/index.ts";

/** Limits of one call. All are optional; undefined limits nothing. */
export interface Limits {
  /** From now, in milliseconds. */
  readonly deadlineMs?: number;
  /** Default `latency`; `throughput` once frames of a stream overlap. */
  readonly objective?: Objective;
  /** Minimum probability of meeting the deadline, 0..1, before the objective counts; see `PlanLimits`. Default: the mean meets it. */
  readonly minInTimeRatio?: number;
  readonly maxDeviceMillijoules?: number;
  readonly maxCostMicros?: number;
  /** 0..1; default 0.995. Lossy codecs and variants with a lower agreement are not considered. */
  readonly minAgreementRatio?: number;
  readonly minAccuracyRatio?: number;
  /**
   * Runs all of the request at this tier or endpoint. No other endpoint is tried, not even as a back-up, and nothing is split. Rules still
   * apply. Fails with `no-endpoint` if none of these endpoints can run it. It chooses the endpoint that gets the request; to bound where a
   * gateway may forward it, use `zones`.
   */
  readonly only?: Only;
  /** Runs the request at this tier or endpoint if one there can keep rules, limits and deadline; otherwise the preference is ignored. */
  readonly prefer?: Only;
  readonly variant?: string;
  readonly version?: string;
  readonly zones?: readonly ZoneId[];
  readonly dataClass?: DataClass;
  /** Minimum trust. It never goes below that of the defaults. */
  readonly leastTrust?: TrustLevel;
  /**
   * Requires that two other endpoints give the same answer, or that this device gives it; otherwise the call fails with `unconfirmed`.
   * Default: the answer of one endpoint is enough, unless the defaults say otherwise.
   */
  readonly confirm?: boolean;
  /** Ends the call with `cancelled` when it fires. */
  readonly signal?: AbortSignal;
  /** Identifies one request. Each frame of a stream and each step of a sequence gets its own key, derived from this one. */
  readonly idempotencyKey?: string;
  /** The trace of this call. The work of servers joins it. */
  readonly trace?: TraceContext;
  readonly progress?: (note: ProgressNote) => void;
}

/** Progress of a call under way. */
export interface ProgressNote {
  readonly kind: "planned" | "started" | "sent" | "late" | "failed" | "answered";
  readonly leg?: string;
  readonly endpoint?: string;
  readonly bytes?: number;
  readonly atMs: number;
}

/** The answer and an account of how it was produced. */
export interface Result {
  readonly outputs: Outputs;
  /** Endpoint whose leg gave the answer. */
  readonly where: string;
  /** Endpoint that gave the same answer, if confirmation was required and this device did not give the answer. */
  readonly confirmedBy?: string;
  /** The reason of the plan that was followed last. If a back-up answered, it names the endpoint that the back-up replaced. */
  readonly because: string;
  readonly tookMs: number;
  readonly predictedMs: number;
  /** `assumed`: a part of `predictedMs` (the link or the run) was neither measured nor promised by a server. */
  readonly predictedLabel: "measured" | "assumed";
  /** Every plan of the request, in order. */
  readonly plans: readonly Plan[];
  /** Accounts of the legs that contributed, then of those that lost. */
  readonly accounts: readonly Account[];
  readonly lostLegs: readonly { readonly leg: string; readonly endpoint: string; readonly why: string }[];
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly energy: { readonly millijoules: number; readonly label: "measured" | "estimated" };
  readonly costMicros: number;
  /**
   * Micrograms of CO2 of all runs, lost and extra ones included. Absent without `carbon` of the offloader, or if the intensity of a zone or the
   * energy of a run is not known.
   */
  readonly carbonMicrograms?: number;
}

/** One of the answers to a request. */
export interface Answer {
  readonly outputs: Outputs;
  /** Endpoint that gave it. */
  readonly where: EndpointId;
}

/** Limits of each frame of a stream, and of the stream. `deadlineMs` counts from the frame's arrival from the source. */
export interface StreamLimits extends Limits, Pick<FrameLimits, "keep" | "maxInFlight"> {}

/** The result of a frame. */
export type FrameResult = FrameOutcome<Result>;

/**
 * Whether a model can be used now. `available`: runs without a download. `downloadable`: runs here after its files are fetched, by the
 * first request or by `prepare`. `downloading`: its files are being fetched. `unavailable`: no known endpoint that answers can run it.
 */
export type Availability = "unavailable" | "downloadable" | "downloading" | "available";

/** Limits of one step of a sequence. */
export interface StepLimits extends Limits {
  /** Marks the last step. The endpoint that holds the state releases it at once, instead of after an idle time. Default false. */
  readonly end?: boolean;
}

/**
 * Correlated calls with state. The state survives a change of endpoint. Steps after the last step, or after disposal, are refused with
 * `sequence-unknown`. Disposal alone notifies no endpoint: only a step with `end` ends the sequence for the model.
 */
export interface Sequence extends AsyncDisposable {
  readonly id: string;
  /** Runs one step after all earlier ones. `deadlineMs` counts from now, including the wait for them. */
  next(inputs: Inputs, limits?: StepLimits): Promise<Result>;
}

/** The object an app uses: a thin wrapper around any endpoint. */
export interface Offloader extends AsyncDisposable {
  /** Throws LongshoreError; `no-endpoint` and `policy-denied` name the constraint that failed. */
  infer(model: string, inputs: Inputs, limits?: Limits): Promise<Result>;
  /**
   * Yields all answers to one request as they come, for models that give any number of them (Triton calls them decoupled). Other models
   * give one. One endpoint gives all answers; another one is tried only if the first failed before its first answer. A reader that leaves
   * cancels the work, and a slow reader slows the endpoint down. Reading throws what `infer` throws, and `shutting-down` if the offloader
   * was closed between two answers.
   */
  answers(model: string, inputs: Inputs, limits?: Limits): AsyncIterable<Answer>;
  sequence(model: string, limits?: Limits): Sequence;
  /**
   * Answers frames in their order. Several frames are under way at once over all endpoints, and each gets a plan of its own. A frame that fails is
   * reported and the stream continues. The stream throws if the source throws, if it is aborted, if the model is unknown, and, after the
   * frames under way, if the offloader is closed. Leaving it cancels everything under way.
   */
  stream(
    model: string,
    frames: AsyncIterable<Inputs> | Iterable<Inputs>,
    limits?: StreamLimits,
  ): AsyncIterable<FrameResult>;
  explain(model: string, inputs: Inputs, limits?: Limits): Promise<Plan | Infeasible>;
  /**
   * Whether a request for a model with these limits could run now. `available`: this device has its files, or an endpoint that the limits
   * and rules allow answers for it. `downloadable`: this device can fetch its files, and no other endpoint may run it. `downloading`: it fetches
   * them. `unavailable`: none of this. Polls the endpoints if the model was not used lately, for up to about 3 s, or until `deadlineMs` or
   * `signal`. Throws `cancelled`, `invalid-input` and `shutting-down`.
   *
   * @example
   * ```ts
   * if ((await offloader.availability("ocr")) === "downloadable") await offloader.prepare("ocr");
   * ```
   */
  availability(model: string, limits?: Limits): Promise<Availability>;
  /**
   * Fetches and loads a model before its first request: on this device, and at each server that a request with these limits may use.
   * Resolves once it is loaded. A server that fails is left to later requests. If no endpoint could load it, throws the error of the first
   * one. Throws `no-endpoint` if no endpoint may run it.
   *
   * @example
   * ```ts
   * await offloader.prepare("ocr", { only: "device", deadlineMs: 60_000 });
   * ```
   */
  prepare(model: string, limits?: Limits): Promise<void>;
  /** Refreshes offers and descriptions now, instead of in the next round. */
  refresh(): Promise<void>;
  close(): Promise<void>;
}
