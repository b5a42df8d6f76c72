import type { Call, EndpointId, Json, TrustLevel, ZoneId } from "../../words/base/index.ts";
import type { CodecId } from "../../words/codec/index.ts";
import type { Estimate } from "../../words/estimate/index.ts";
import type { Connecting, TransferNote } from "../transport/index.ts";
import type { Parameters } from "../../words/json/index.ts";
import type { Features, ModelDescription, Profile, Segment } from "../../words/model/index.ts";
import type { Tensor, Tensors, TensorSpec } from "../../words/tensor/index.ts";
import type { WireBody } from "../body/index.ts";

/** Which kind of endpoint. */
export type Tier = "device" | "edge" | "cloud";

/**
 * The operator's prices of an endpoint, and the power that it draws. Prices are in micros: 1e-6 of the operator's currency. Each is finite
 * and 0 or more (`checkRates`). Priced work costs at least this, whatever the endpoint claims.
 */
export interface CostRates {
  /** One second of run time. */
  readonly microsPerSecond: number;
  /** One megabyte (1e6 bytes) in either direction. `microsPerMegabyteIn` and `microsPerMegabyteOut` override it for one direction. */
  readonly microsPerMegabyte: number;
  /** One megabyte of requests to the endpoint. Default: `microsPerMegabyte`. */
  readonly microsPerMegabyteIn?: number;
  /** One megabyte of replies from the endpoint. Default: `microsPerMegabyte`. */
  readonly microsPerMegabyteOut?: number;
  /** One request, whether it runs at the endpoint or is forwarded by it. Default 0. */
  readonly microsPerRequest?: number;
  /** One joule of the endpoint's energy. Default 0. */
  readonly microsPerJoule?: number;
  /**
   * Nobody stated a price. An unknown price is within no `maxCostMicros`, and an objective with cost takes the endpoint only if
   * no priced one will do. A stated price of 0 is a price.
   */
  readonly unpriced?: true;
  /** Power while running, above idle, in watts. */
  readonly activeWatts: number;
}

/** The accelerator of an endpoint, as its operator lists it. */
export interface Accelerator {
  /** Such as `cpu`, `cuda` or `coreml`. */
  readonly kind: string;
  /** Such as `L4`. */
  readonly name?: string;
  readonly count?: number;
  readonly memoryBytes?: number;
}

/** A segment that an endpoint serves; undefined parts match anything. */
export interface SegmentPattern {
  readonly model: string;
  readonly version?: string;
  readonly variant?: string;
  readonly from?: string;
  readonly to?: string;
}

/** The facts of an endpoint from the operator's directory. An endpoint's own statements can only narrow them. */
export interface EndpointInfo {
  readonly id: EndpointId;
  readonly tier: Tier;
  readonly zone: ZoneId;
  readonly trust: TrustLevel;
  /** Base address for dialling; undefined for endpoints in this process. */
  readonly address?: string;
  /** Where a server of the plain protocol speaks gRPC, over which alone it answers a request several times. Default: nowhere. */
  readonly grpcAddress?: string;
  /** Undefined: all that it offers. `as` is the model's name there (an exported tail may be a model of its own). */
  readonly serves?: readonly { readonly segment: SegmentPattern; readonly as?: string }[];
  readonly codecs: readonly CodecId[];
  readonly state: "none" | "resident" | "movable";
  /** Whether it answers `offers`; for others offers are inferred from profile and load. */
  readonly offers: boolean;
  readonly rates: CostRates;
  /** The kind of endpoint that dials it, by name. Default `longshore`. */
  readonly kind?: string;
  /** Settings that the operator states for this endpoint. Its kind reads them, and checks them when it dials. */
  readonly settings?: Readonly<Record<string, Json>>;
  readonly accelerator?: Accelerator;
  /**
   * It runs in this process, on the machine whose data it gets: another processor of the device. Only the program that opened it says so; nothing
   * of it is ever read from the network. Default: any other endpoint that claims the zone `device` is refused.
   */
  readonly sameDevice?: true;
}

/** How busy an endpoint is, reported on every reply (ORCA `endpoint-load-metrics`). */
export interface LoadReport {
  readonly atMs: number;
  /** 0..1 of the processor. */
  readonly cpuRatio: number;
  /** Requests accepted and not finished. */
  readonly inFlight: number;
  /** Expected wait of a request that arrives now, before it runs. */
  readonly queueMs: number;
  /** Where requests share runs; absent where each has one of its own. */
  readonly batch?: BatchReport;
}

/** How an endpoint puts requests together, as it did of late. */
export interface BatchReport {
  /** Requests that share a run, as one of them meets it: 1 or more. */
  readonly requests: number;
  /** By what one more request lengthens the queue of an instance, over what the run that it shares takes: 1 at most. */
  readonly shareRatio: number;
}

/** The query of a refresh of offers, off the hot path. */
export interface OfferQuery {
  readonly model: string;
  readonly version?: string;
  readonly features?: Features;
}

/**
 * A promise (or, for foreign servers, an inference) for one segment **along one path**. Always a list: the fastest way
 * through a zone is worthless to a request that must not go there.
 */
export interface Offer {
  readonly segment: Segment;
  readonly path: readonly EndpointId[];
  /** How the first of the path calls itself, where it is known by another name here; see `byOwnNames`. Does not travel. */
  readonly ownName?: EndpointId;
  /** Every zone that the request would be processed in. */
  readonly zones: readonly ZoneId[];
  /** The least trust along the path. */
  readonly trust: TrustLevel;
  /** Queue and run and forward transfers, without the link from the asker. */
  readonly completionMs: Estimate;
  /** Of `completionMs`, the part that is the queue at the time of the offer. */
  readonly queueMs: number;
  /**
   * The expected time, in milliseconds, to load what the segment runs on. The first request waits for it. It is not part of
   * `completionMs`. Absent: it is loaded.
   */
  readonly loadMs?: number;
  readonly energyMillijoules: number;
  /** Expected price in micros: of the whole path, without the bytes to its first endpoint. */
  readonly costMicros: number;
  /** The most that it may cost, if the endpoint tells; default: `costMicros` over the longest run that is believed. */
  readonly mostMicros?: number;
  /** An endpoint of the path has no stated price, see `CostRates.unpriced`. */
  readonly unpriced?: true;
  readonly agreementRatio: number;
  readonly accuracyRatio?: number;
  /** Bucket of input features that it holds for. */
  readonly upTo: Features;
  readonly codecs: readonly CodecId[];
  readonly expiresAtMs: number;
  readonly origin: "promised" | "inferred";
}

/** A tensor that is still arriving: planning and admission need only its spec. */
export interface IncomingTensor {
  readonly spec: TensorSpec;
  readonly byteLength: number;
  /** May be read more than once; every time the same tensor. */
  read(call: Call): Promise<Tensor>;
}

/**
 * A message as it travels over HTTP, its tensors as binary data and uncoded. It comes along with the tensors for endpoints that
 * can send it on as it is.
 */
export interface WireForm {
  /** Bytes of JSON before the binary data. */
  readonly headerLength: number;
  /** Of a request it is here or kept, and can be read more than once while `canBegin` says so; of a reply once. */
  readonly body: WireBody;
  /** Of a request: its sender takes an answer that is still arriving. Default false. */
  readonly takesArriving?: true;
  /** CRC-32 of the whole body, as its sender stated it. */
  readonly crc32?: number;
}

/**
 * The step of a request whose sender does not count, as Triton's clients do not: whichever comes next in a sequence that
 * has begun. Larger than any step that is counted.
 */
export const nextStep: number = Number.MAX_SAFE_INTEGER;

/** Correlated requests with state. */
export interface SequencePosition {
  readonly id: string;
  /** 0 for the first request; each next request has one more, or `nextStep`. A wrong step is refused. */
  readonly step: number;
  readonly end: boolean;
  /** Carried state: the endpoint starts from this instead of its own copy. */
  readonly state?: Tensors;
  /** The seal that came with that state when it was exported (`InferenceResponse.stateSeal`). */
  readonly seal?: string;
  /** Ask for the state after this step in the response. */
  readonly wantState: boolean;
}

/** One run of a segment. Inputs are the crossing of `segment.from`, by name. */
export interface InferenceRequest {
  readonly segment: Segment;
  readonly inputs: ReadonlyMap<string, Tensor | IncomingTensor>;
  /** How to carry inputs to this endpoint, by tensor name; absent names travel raw. Local endpoints ignore it. */
  readonly codecs: Readonly<Record<string, CodecId>>;
  readonly sequence?: SequencePosition;
  /** Names of the outputs that are wanted; undefined for all. */
  readonly outputs?: readonly string[];
  /**
   * The number of best classes wanted of each of these outputs, for a model whose server alone knows their labels. A server
   * that names classes gives BYTES, as Triton does; any other gives the output itself.
   */
  readonly classes?: ReadonlyMap<string, number>;
  /**
   * The caller named no variant, and takes one whose agreement is at least this when the segment's cannot make the
   * deadline. Undefined: the variant of the segment or none.
   */
  readonly leastAgreementRatio?: number;
  /** The caller reads `because` of the answer: say why it ran where it did. Of this endpoint alone, never sent on. */
  readonly explained?: true;
  /** The pass that this endpoint's `admit` granted for the request. The caller of `admit` disposes it in every case. */
  readonly pass?: Disposable;
  /**
   * Parameters of the request that the protocol gives no meaning to, for the steps that read them. Names come from
   * outside: read them as own properties.
   */
  readonly parameters?: Parameters;
  /**
   * The same request as it came: its JSON names these inputs, in their order, and requests all outputs as binary data. Given
   * only to endpoints with `sendsOn`.
   */
  readonly wire?: WireForm;
}

/** A stage of a request, in plain figures. Times in milliseconds. */
export interface StageTime {
  readonly stage:
    | "load"
    | "queue"
    | "transform"
    | "run"
    | "encode"
    | "decode"
    | "send"
    | "wait"
    | "network"
    | "cache";
  /** Step, model or codec. */
  readonly name: string;
  readonly tookMs: number;
  /** Of a run on an accelerator: its execution provider, such as `cuda`. */
  readonly provider?: string;
}

/** The account of one leg: where, which body, and what it took. */
export interface Account {
  readonly endpoint: EndpointId;
  readonly zone: ZoneId;
  readonly segment: Segment;
  readonly stages: readonly StageTime[];
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly energy: { readonly millijoules: number; readonly label: "measured" | "estimated" };
  /** The cost in micros: lost and extra runs, forwards and bytes included. */
  readonly costMicros: number;
  /** Accounts of further legs, if the endpoint forwarded the request. */
  readonly forwarded: readonly Account[];
}

export interface InferenceResponse {
  /** The crossing of `segment.to`, by name. The caller owns them. */
  readonly outputs: Tensors;
  readonly confidenceRatio?: number;
  readonly account: Account;
  /** Absent where the endpoint says nothing of it. */
  readonly load?: LoadReport;
  /** State after the step, if the request wanted it. */
  readonly state?: Tensors;
  /**
   * Proof that this endpoint made that state for this tenant, model, content and sequence. Callers that may not feed parts of
   * models need it to continue from the state.
   */
  readonly stateSeal?: string;
  /**
   * The same answer as it came from elsewhere, where the request had a wire form. Of one that is still arriving `outputs` is
   * empty, and its body must be read or left early: until then it holds a connection.
   */
  readonly wire?: WireForm;
  /** Why it ran where it did, in one sentence, if the request wants to know and this endpoint decides. */
  readonly because?: string;
  /** Nothing looks at the request's inputs any more: they may be freed. Absent where a body may still be written, say. */
  readonly forgotInputs?: true;
}

/** Where a request would run, and why not elsewhere. For people; nothing decides by it. */
export interface Explanation {
  /** Absent where no endpoint may or can take the request. */
  readonly legs?: readonly { readonly endpoint: EndpointId; readonly segment: Segment }[];
  /** Mean time until the answer, in milliseconds; `assumed` where a part of it was neither measured nor promised. */
  readonly predictedMs?: number;
  readonly predictedLabel?: "measured" | "assumed";
  /** One sentence. */
  readonly because: string;
  /** The candidates that were not chosen; `count` is the number of similar ones. */
  readonly lost: readonly {
    readonly endpoint: EndpointId;
    readonly variant: string;
    readonly cut: string;
    readonly why: string;
    readonly count: number;
  }[];
}

/** Notes while a request is under way. */
export interface Progress {
  /** The peer acknowledged that many bytes of the body, in all. */
  acknowledged(bytes: number): void;
  /** The body is on its way over a link with a belief, which hears of its progress; the argument gives the rest of the way. */
  onItsWay?(way: Pick<TransferNote, "remainingMs" | "quiet">): void;
  /** The peer did not take the request, and reported its load. */
  refused?(load: LoadReport): void;
}

/**
 * **The seam.** The engine here, a server over the network, a Triton, a simulated endpoint and a whole offloader over several
 * of them are all endpoints. Abilities that only some of them have are in `capabilities`.
 */
export interface Endpoint {
  readonly info: EndpointInfo;
  /** The endpoint's knowledge of a model, or undefined when it does not serve it. */
  describe(model: string, version: string | undefined, call: Call): Promise<ModelKnowledge | undefined>;
  /** Off the hot path; fills the view that decisions read. */
  offers(query: OfferQuery, call: Call): Promise<readonly Offer[]>;
  infer(request: InferenceRequest, call: Call, progress?: Progress): Promise<InferenceResponse>;
  /** Its further capabilities; `{}` if it has none. Required, so that a wrapper cannot forget them: see `wrapEndpoint`. */
  readonly capabilities: EndpointCapabilities;
  /** Idempotent; waits for what is under way. */
  close(): Promise<void>;
}

/**
 * Capabilities of an endpoint besides `infer`. Each member is absent where the endpoint cannot do it, and each member says what
 * its absence means. The functions do not use `this`.
 */
export interface EndpointCapabilities {
  /** The result of `describe`, if it is known without waiting. A wrapper that replaces `describe` replaces this, too. */
  readonly known?: (model: string, version: string | undefined, call: Call) => ModelKnowledge | undefined;
  /**
   * Endpoints behind it that its last offers of a model lack only for now: they are starting, silent or paused. A caller that needs one of
   * them asks again instead of giving up. Synchronous. Absent: its offers are complete.
   */
  readonly missing?: (query: OfferQuery, call: Call) => readonly MissingEndpoint[];
  /**
   * The knowledge about a sequence, after its requests that arrived before; undefined if there is none. An endpoint that has
   * forgotten where its sequences are asks this. Absent: it cannot tell.
   */
  readonly sequence?: (query: SequenceQuery, call: Call) => Promise<SequenceStanding | undefined>;
  /** Whether no endpoint is behind it at this moment and it runs nothing itself, as in a fleet that was scaled to zero. Synchronous. Absent: false. */
  readonly vacant?: () => boolean;
  /** Whether it could take a request for a model now, by its own word. Absent: it can whenever it is there. */
  readonly ready?: (model: string, version: string | undefined, call: Call) => Promise<boolean>;
  /**
   * Runs a model that may give any number of answers to one request (`ModelDescription.decoupled`), each as soon as it is
   * there. The next answer is computed when the one before was taken, except for a few that are made ahead, so a slow reader
   * slows the work. To stop early, leave the loop or end the call. Absent where every request has one answer;
   * `answersOf` takes both kinds. `infer` refuses a decoupled model with `unsupported`.
   */
  readonly inferStream?: (request: InferenceRequest, call: Call) => AsyncIterable<InferenceResponse>;
  /**
   * Decides on admission from headers alone, before inputs are read: throws `rejected`, `queue-full` or `shutting-down` (with
   * `retryAfterMs`) for a request that could not be done in time. Synchronous: it waits for nothing, and grants where nothing
   * is known yet. The pass reserves a slot for the request; hand it on as `InferenceRequest.pass` and dispose it when the
   * request ends. Absent: it cannot decide from headers.
   */
  readonly admit?: (segment: Segment, call: Call, leastAgreementRatio?: number) => Disposable;
  /**
   * Loads what a segment runs on, so that no request has to wait for that, and returns when it is loaded. Does nothing where it is
   * loaded already. Throws as `infer` does for what it does not serve. Absent: it cannot load ahead.
   */
  readonly prepare?: (segment: Segment, call: Call) => Promise<void>;
  /**
   * Bytes of what a segment runs on that are not at this endpoint: `prepare` fetches them, or the first request, which waits for
   * it. Infinity where that is not known yet. Synchronous. Absent: all that it offers is there.
   */
  readonly lacks?: (segment: Segment) => number;
  /** Whether it has what a segment runs on loaded now: `prepare` would do nothing. Synchronous. Absent: it cannot tell. */
  readonly loaded?: (segment: Segment) => boolean;
  /**
   * The expected time, in milliseconds, until what a segment runs on is fetched and loaded; 0 if it is. Synchronous. Absent: loading is in
   * no prediction.
   */
  readonly loadMs?: (segment: Segment) => number;
  /**
   * The wait of the next request on its connection; undefined if it can use one that was just in use. `stream`: a request with any number
   * of answers, which may take another connection. Absent: it waits for none.
   */
  readonly connecting?: (stream?: boolean) => Connecting | undefined;
  /** Where a request with such inputs would run under the rules of the call, and why. Absent: it decides nothing. */
  readonly explain?: (query: OfferQuery, call: Call) => Promise<Explanation>;
  /** Its models, by name; off the path of requests. Absent: it cannot tell. */
  readonly models?: (call: Call) => Promise<readonly ModelListing[]>;
  /**
   * Sends that many bytes without meaning, so that the belief about the link learns from them, and returns the load that the
   * reply reports; with 0 bytes it only reads the load. Absent: the peer would not understand.
   */
  readonly probe?: (bytes: number, call: Call) => Promise<LoadReport | undefined>;
  /**
   * Its replies do not report its load, and `probe(0)` reads it elsewhere: call that at most once in this many milliseconds,
   * while the endpoint is used. Undefined or absent: replies report it, or nothing can.
   */
  readonly loadEveryMs?: () => number | undefined;
  /**
   * It may send a request on in its wire form while it is still arriving: `infer` decides on admission, as `admit` does, before it reads
   * anything of it. Absent: give it whole requests.
   */
  readonly sendsOn?: true;
  /**
   * The peer gets the tenant of each request and shares its capacity among tenants. Absent: all requests count as one tenant's.
   */
  readonly forwardsTenants?: true;
  /**
   * Nothing reads the inputs of a request without a sequence any more once `infer` has answered it: their memory may be
   * reused. Absent: something may (a back-up that is still being sent). Failures say nothing about it.
   */
  readonly forgetsInputs?: true;
}

/** A description with the measured facts that go with it. */
export interface ModelKnowledge {
  readonly description: ModelDescription;
  readonly profile?: Profile;
  /** The name is an alias: a request that states neither version nor digest may be led to another than the one described. */
  readonly alias?: true;
  /** The configuration as a server of another make states it: Triton's `ModelConfig` as JSON. */
  readonly configuration?: Readonly<Record<string, Json>>;
  /** The model takes the ids of sequences as whole numbers, and its server refuses texts. */
  readonly numbersSequences?: true;
}

/** An endpoint behind another one, as far as rules ask about it: all zones of the path to it, and the least trust on that path. */
export interface MissingEndpoint {
  readonly zones: readonly ZoneId[];
  readonly trust: TrustLevel;
}

/** Names a sequence of the call's tenant. State belongs to one content of a model, hence the digest. */
export interface SequenceQuery {
  readonly model: string;
  readonly version: string;
  readonly digest: string;
  readonly id: string;
}

/** The state of a sequence at an endpoint that knows it. */
export interface SequenceStanding {
  /** The last step that was made. */
  readonly step: number;
  /** The sequence was ended by that step, or its state is gone; only a repetition of the step can be answered. */
  readonly ended: boolean;
  /** Time since that step, in milliseconds: of two endpoints that know the sequence, the newer state is the right one. */
  readonly idleMs: number;
  /** The idempotency key of that step, if it had one. */
  readonly key?: string;
}

/** One version of a model that an endpoint has. */
export interface ModelListing {
  readonly name: string;
  readonly version: string;
  /** As Triton says it. */
  readonly state: "READY" | "LOADING" | "UNLOADING" | "UNAVAILABLE";
  /** Why it cannot be used; empty when it can. */
  readonly reason: string;
}
