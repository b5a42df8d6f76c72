import type { DataClass, EndpointId, TraceContext, TrustLevel, ZoneId } from "../../words/base/index.ts";
import type { Account } from "../../wire/endpoint/index.ts";
import type { Inputs } from "../../words/model/index.ts";
import type { Objective, Only } from "../../decide/goal/index.ts";
import type { Infeasible, Plan } from "../../decide/plan/index.ts";
import type { FrameLimits, FrameOutcome } from "../frames/index.ts";
import type { Outputs } from "../../words/tensor/index.ts";

/** What the caller demands of one call. Everything is optional; undefined limits nothing. */
export interface Limits {
  /** From now, in milliseconds. */
  readonly deadlineMs?: number;
  /** Default `latency`; `throughput` once frames of a stream overlap. */
  readonly objective?: Objective;
  /** How surely the deadline is to be kept, 0..1, before the objective counts; see `PlanLimits`. Default: in the mean. */
  readonly minInTimeRatio?: number;
  readonly maxDeviceMillijoules?: number;
  readonly maxCostMicros?: number;
  /** 0..1; default 0.995: lossy codecs and variants that agree less are not considered. */
  readonly minAgreementRatio?: number;
  readonly minAccuracyRatio?: number;
  /**
   * Run all of it at this tier or endpoint and nowhere else: no other endpoint is tried, not even as a back-up, and nothing is split.
   * Rules still hold. Fails with `no-endpoint` if none of those can run it. It chooses the endpoint that gets the request; to bound
   * where a gateway may forward it, use `zones`.
   */
  readonly only?: Only;
  /** Run it at this tier or endpoint as long as one there can keep rules, limits and deadline; otherwise as if nothing was preferred. */
  readonly prefer?: Only;
  readonly variant?: string;
  readonly version?: string;
  readonly zones?: readonly ZoneId[];
  readonly dataClass?: DataClass;
  /** Never below what the defaults demand. */
  readonly leastTrust?: TrustLevel;
  /**
   * No answer that only one other endpoint has said: two must give the same, or this device gives it; else `unconfirmed`. Default:
   * one is believed, if nobody's defaults say otherwise.
   */
  readonly confirm?: boolean;
  /** Ends the call with `cancelled` when it fires. */
  readonly signal?: AbortSignal;
  /** Stands for one request; of a stream or a sequence each frame and step gets one of its own that is made of it. */
  readonly idempotencyKey?: string;
  /** The trace that this call belongs to; what servers do for it joins that trace. */
  readonly trace?: TraceContext;
  readonly progress?: (note: ProgressNote) => void;
}

/** What happens while a call is under way. */
export interface ProgressNote {
  readonly kind: "planned" | "started" | "sent" | "late" | "failed" | "answered";
  readonly leg?: string;
  readonly endpoint?: string;
  readonly bytes?: number;
  readonly atMs: number;
}

/** The answer and a plain account of how it came about. */
export interface Result {
  readonly outputs: Outputs;
  /** Endpoint whose leg gave the answer. */
  readonly where: string;
  /** Endpoint that gave the same answer, where that was demanded and it was not this device that gave it. */
  readonly confirmedBy?: string;
  /** The sentence of the plan that was followed last, and instead of whom a back-up answered. */
  readonly because: string;
  readonly tookMs: number;
  readonly predictedMs: number;
  /** `assumed`: a part of `predictedMs` (the link or the run) was neither measured nor promised by a server. */
  readonly predictedLabel: "measured" | "assumed";
  /** Every plan that was made for it, in order. */
  readonly plans: readonly Plan[];
  /** Accounts of the legs that contributed, then of those that lost. */
  readonly accounts: readonly Account[];
  readonly lostLegs: readonly { readonly leg: string; readonly endpoint: string; readonly why: string }[];
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly energy: { readonly millijoules: number; readonly label: "measured" | "estimated" };
  readonly costMicros: number;
}

/** One of the answers to a request. */
export interface Answer {
  readonly outputs: Outputs;
  /** Endpoint that gave it. */
  readonly where: EndpointId;
}

/** What is demanded of each frame of a stream, and of the stream. `deadlineMs` counts from when the source gave the frame. */
export interface StreamLimits extends Limits, Pick<FrameLimits, "keep" | "maxInFlight"> {}

/** What became of a frame. */
export type FrameResult = FrameOutcome<Result>;

/**
 * Whether a model can be used now: `available` runs without a download; `downloadable` runs here after its files are fetched, which the
 * first request or `prepare` does; `downloading` is being fetched now; `unavailable` runs nowhere that is known and answers.
 */
export type Availability = "unavailable" | "downloadable" | "downloading" | "available";

/** What is demanded of one step of a sequence. */
export interface StepLimits extends Limits {
  /**
   * The last step: with it the endpoint that holds the state lets it go, instead of keeping it until it has idled for too long.
   * Default false.
   */
  readonly end?: boolean;
}

/**
 * Correlated calls with state; the state survives a change of endpoint. Steps after the one that is said to be the last, and
 * after it was disposed, are refused with `sequence-unknown`. Disposing alone tells nobody: models are told of the end with a
 * step.
 */
export interface Sequence extends AsyncDisposable {
  readonly id: string;
  /** One step behind those that were asked for before. `deadlineMs` counts from here, the wait for them included. */
  next(inputs: Inputs, limits?: StepLimits): Promise<Result>;
}

/** What an app holds: a thin face on any endpoint. */
export interface Offloader extends AsyncDisposable {
  /** Throws LongshoreError; `no-endpoint` and `policy-denied` name the constraint that failed. */
  infer(model: string, inputs: Inputs, limits?: Limits): Promise<Result>;
  /**
   * All answers to one request as they come, for models that give any number of them (Triton calls them decoupled); the one of any
   * other model. One endpoint gives them all; another one is asked only where that failed before its first answer. A reader
   * that leaves ends the work, and whoever takes them slowly holds the place back. Throws while it is read what `infer` throws,
   * and `shutting-down` when the offloader was closed between two answers.
   */
  answers(model: string, inputs: Inputs, limits?: Limits): AsyncIterable<Answer>;
  sequence(model: string, limits?: Limits): Sequence;
  /**
   * Answers frames in their order, several under way at once over all endpoints, planning each again. A frame that fails is
   * told and the stream goes on; throws when the source does, when it is aborted, when the model is unknown, and, after what is
   * under way, when the offloader is closed. Leaving it ends what is under way.
   */
  stream(
    model: string,
    frames: AsyncIterable<Inputs> | Iterable<Inputs>,
    limits?: StreamLimits,
  ): AsyncIterable<FrameResult>;
  explain(model: string, inputs: Inputs, limits?: Limits): Promise<Plan | Infeasible>;
  /**
   * Whether a model can be used now. Asks no server; a model that was never used is looked up, so that a later call tells.
   *
   * @example
   * ```ts
   * if (offloader.availability("ocr") === "downloadable") await offloader.prepare("ocr");
   * ```
   */
  availability(model: string): Availability;
  /**
   * Fetches and loads a model ahead of its first request: on this device, and at each server that a request with these limits may use.
   * Resolves once it is loaded; a server that fails is left to later requests. Throws what the first endpoint fails with if none could
   * load it, and `no-endpoint` if no endpoint may.
   *
   * @example
   * ```ts
   * await offloader.prepare("ocr", { only: "device", deadlineMs: 60_000 });
   * ```
   */
  prepare(model: string, limits?: Limits): Promise<void>;
  /** Refreshes offers and descriptions now, instead of waiting for the next round. */
  refresh(): Promise<void>;
  close(): Promise<void>;
}
