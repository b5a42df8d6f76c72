import type { EndpointId, TenantId, TraceContext } from "./call.ts";
import type { Stage } from "./error.ts";
import type { Reason } from "./reasons.ts";

/**
 * Why an answer is not waited for alone any more. It is `late`: another endpoint may be quicker. Or the request is taken to be lost: it
 * takes far longer than expected (`overdue`), its endpoint has answered nothing for too long (`silent`), lost another one that began no
 * later (`mute`), or failed meanwhile (`failing`).
 */
export type Late = "late" | "overdue" | "silent" | "mute" | "failing";

/**
 * Everything worth knowing that happens, as one closed union. Metrics, traces, logs, learning and the simulator's
 * invariants are all made from it. Events carry ids and plain figures only.
 */
export type LongshoreEvent =
  | {
      readonly kind: "request-accepted";
      readonly atMs: number;
      readonly callId: string;
      readonly model: string;
    }
  | {
      readonly kind: "request-ended";
      readonly atMs: number;
      readonly callId: string;
      readonly model: string;
      readonly tookMs: number;
      readonly outcome: "answered" | Reason;
    }
  | {
      readonly kind: "plan-made";
      readonly atMs: number;
      readonly callId: string;
      readonly model: string;
      readonly candidates: number;
      readonly endpoint: EndpointId;
      readonly cut: string;
      readonly predictedMs: number;
    }
  | {
      readonly kind: "leg-started";
      readonly atMs: number;
      readonly callId: string;
      readonly leg: string;
      readonly endpoint: EndpointId;
      readonly trigger: "begin" | "done" | "failed" | "late" | "unsure";
      readonly expectedMs: number;
    }
  | {
      /**
       * An answer is late or taken to be lost. Another endpoint is called, or would be if there were one and the budget allowed
       * it.
       */
      readonly kind: "leg-late";
      readonly atMs: number;
      readonly callId: string;
      readonly leg: string;
      readonly endpoint: EndpointId;
      /** Since it began. */
      readonly tookMs: number;
      readonly because: Late;
      /** Whether anything began for it. */
      readonly begun: boolean;
    }
  | {
      readonly kind: "leg-ended";
      readonly atMs: number;
      readonly callId: string;
      readonly leg: string;
      readonly endpoint: EndpointId;
      readonly tookMs: number;
      readonly outcome: "won" | "lost" | Reason;
    }
  | {
      /** A run was paid for, whether its answer was used or not. */
      readonly kind: "cost-charged";
      readonly atMs: number;
      readonly callId: string;
      readonly tenant: TenantId;
      readonly model: string;
      readonly endpoint: EndpointId;
      readonly micros: number;
    }
  | {
      /** A run, or an exchange, drew energy where the intensity of zones is stated. */
      readonly kind: "carbon-counted";
      readonly atMs: number;
      readonly callId: string;
      readonly tenant: TenantId;
      readonly model: string;
      readonly endpoint: EndpointId;
      /** Micrograms of CO2; undefined if the intensity of the zone or the energy is not known. */
      readonly micrograms: number | undefined;
    }
  | {
      readonly kind: "bytes-acknowledged";
      readonly atMs: number;
      readonly callId: string;
      readonly endpoint: EndpointId;
      readonly bytes: number;
    }
  | {
      readonly kind: "stage-ended";
      readonly atMs: number;
      readonly callId: string;
      readonly stage:
        | "identify"
        | "cache"
        | "queue"
        | "transform"
        | "run"
        | "encode"
        | "decode"
        | "send"
        | "wait";
      readonly name: string;
      readonly tookMs: number;
    }
  | {
      /** A run begins; from now on its requests do not wait any more. */
      readonly kind: "batch-started";
      readonly atMs: number;
      /** Of parts between inner cuts, with the cuts. */
      readonly model: string;
      /** Of whole models. */
      readonly version?: string;
      /** The sum of its requests' waiting times. */
      readonly queueMs?: number;
      readonly size: number;
      /** The very list that the run's end will carry, so that the two can be matched. */
      readonly callIds: readonly string[];
    }
  | {
      readonly kind: "batch-run";
      readonly atMs: number;
      readonly model: string;
      readonly version?: string;
      readonly size: number;
      readonly tookMs: number;
      /** The part spent on joining the inputs of all requests; absent if it was not measured. */
      readonly inputMs?: number;
      /** Requests that shared the run. */
      readonly callIds?: readonly string[];
    }
  | {
      /** Instances of a model, or of a part of it, were loaded, or are gone: then `bytes` is negative. */
      readonly kind: "graph-memory";
      readonly atMs: number;
      readonly model: string;
      readonly version: string;
      /** The bytes that the memory budget counts for them. */
      readonly bytes: number;
    }
  | {
      /** After `batch-run`: each request of the run has its own part of the outputs, which had to be copied for that. */
      readonly kind: "batch-parted";
      readonly atMs: number;
      readonly model: string;
      readonly version?: string;
      readonly size: number;
      readonly tookMs: number;
      readonly callIds?: readonly string[];
    }
  | {
      /** An execution provider was tried for a model that is being loaded; without a model, for one of a single operator. */
      readonly kind: "provider-tried";
      readonly atMs: number;
      readonly model?: string;
      readonly version?: string;
      readonly runtime: string;
      /** Such as `cpu` or `webgpu`. */
      readonly provider: string;
      /** Whether it runs the model. */
      readonly taken: boolean;
      /** Why it was passed over; of the processor, why it was taken instead of what the model asks for. */
      readonly why?: string;
    }
  | {
      /** A model that lets tenants share runs was tested for it: a row's answers must not depend on the rows beside it. */
      readonly kind: "invariance-tested";
      readonly atMs: number;
      readonly model: string;
      readonly passed: boolean;
      /** Largest difference over what is allowed. */
      readonly worstRatio: number;
      readonly problem?: string;
    }
  | {
      /** Whether requests for a model share runs although its configuration does not say so. */
      readonly kind: "batching-decided";
      readonly atMs: number;
      readonly model: string;
      /** Most rows of a run; 1: requests run one by one. */
      readonly maxRows: number;
      readonly because: string;
      /** The verdict is of an earlier start. */
      readonly kept: boolean;
    }
  | {
      /** A request to a server begins, of any kind. */
      readonly kind: "exchange-began";
      readonly atMs: number;
      readonly callId: string;
      /** The kind of route, not its path: a closed list of words. */
      readonly route: string;
      readonly tenant: TenantId;
      /** The span of this exchange; undefined when tracing is off. */
      readonly trace?: TraceContext;
      /** The sender's span. */
      readonly parentSpanId?: string;
      /** The request in the terms of its protocol; only of exchanges that are traced. */
      readonly wire?: {
        readonly method: string;
        /** Without the query. */
        readonly path: string;
        /** The path with names in braces for what varies; undefined where nothing is at the path. */
        readonly pattern?: string;
        readonly encrypted: boolean;
        /** The server as the sender addressed it, with a port where it stated one. */
        readonly host?: string;
        /** The method of gRPC: `package.Service/Method`. Undefined for HTTP. */
        readonly rpc?: string;
      };
    }
  | {
      /** A request for inference of a model arrived that is here, or that no server has yet. */
      readonly kind: "inference-asked";
      readonly atMs: number;
      readonly callId: string;
      readonly model: string;
    }
  | {
      /** An endpoint answered a leg: what the run took of it, for the number of endpoints that a model needs. */
      readonly kind: "endpoint-ran";
      readonly atMs: number;
      readonly model: string;
      readonly endpoint: EndpointId;
      /** Run time, without the wait. */
      readonly runMs: number;
      /** From the request to the answer, without the wait. */
      readonly aloneMs: number;
      /** How much longer a request that came at the same time had to wait: the run over the slots of the endpoint. */
      readonly occupiedMs: number;
    }
  | {
      /** An inference has found its model: from now on it counts for it. */
      readonly kind: "inference-began";
      readonly atMs: number;
      readonly callId: string;
      readonly model: string;
      readonly version: string;
    }
  | {
      readonly kind: "inference-ended";
      readonly atMs: number;
      readonly callId: string;
      readonly tenant: TenantId;
      readonly model: string;
      readonly version: string;
      readonly tookMs: number;
      readonly outcome: "answered" | Reason;
      /** Answers and rows, more than one of which a batched or decoupled request has; 0 when it failed. */
      readonly answers: number;
      readonly rows: number;
      /**
       * Of models that give several: from the answer before, or the beginning, to each of the first 64 answers, and what of that
       * writing it took.
       */
      readonly answersTookMs?: readonly { readonly tookMs: number; readonly encodeMs: number }[];
      readonly stages: readonly { readonly stage: string; readonly name: string; readonly tookMs: number }[];
      readonly receivedBytes: number;
      readonly sentBytes: number;
      readonly millijoules: number;
      readonly energyLabel: "measured" | "estimated";
      /** Of requests that are traced. */
      readonly traceId?: string;
    }
  | {
      readonly kind: "exchange-ended";
      readonly atMs: number;
      readonly callId: string;
      readonly tookMs: number;
      /** HTTP's, also where another protocol carried it. */
      readonly status: number;
    }
  | {
      /** A client here sent a request to another server. */
      readonly kind: "request-sent";
      readonly atMs: number;
      readonly callId: string;
      readonly endpoint: EndpointId;
      readonly model: string;
      readonly tookMs: number;
      readonly sentBytes: number;
      readonly outcome: "answered" | Reason;
      /** The span that travelled with it, and the one that it lies in. */
      readonly trace?: TraceContext;
      readonly parentSpanId?: string;
    }
  | {
      /** `joined`: the same request was under way and its answer serves this one, too. */
      readonly kind: "cache-asked";
      readonly atMs: number;
      readonly callId: string;
      readonly model: string;
      readonly version: string;
      readonly outcome: "hit" | "joined" | "miss";
      readonly tookMs: number;
    }
  | {
      readonly kind: "cache-changed";
      readonly atMs: number;
      readonly entries: number;
      readonly bytes: number;
      /** The limit of the memory. */
      readonly maxBytes: number;
      readonly evicted: number;
    }
  | {
      /** A request with the idempotency key of one that is under way or answered: it got the same answer without a run. */
      readonly kind: "request-repeated";
      readonly atMs: number;
      readonly callId: string;
      readonly model: string;
      readonly version: string;
    }
  | {
      readonly kind: "model-state";
      readonly atMs: number;
      readonly model: string;
      readonly version: string;
      readonly state: string;
      /** Of one that is ready: its answers are kept. */
      readonly cached?: boolean;
    }
  | {
      /** A model that is served from now on says things in its configuration that have no effect here. */
      readonly kind: "settings-unused";
      readonly atMs: number;
      readonly model: string;
      readonly version: string;
      readonly settings: string;
    }
  | {
      /** A folder of the repository is no model for its name alone: nothing of it is served, and no request can name it. */
      readonly kind: "folder-ignored";
      readonly atMs: number;
      readonly folder: string;
      readonly because: string;
    }
  | {
      /** A directory took in, changed or lost an endpoint, awaits one that its operator speaks of to say where it is, or did not believe what was said of one. */
      readonly kind: "directory-changed";
      readonly atMs: number;
      readonly directory: string;
      readonly endpoint: EndpointId;
      readonly change: "added" | "changed" | "removed" | "awaited" | "refused";
      /** Of the operator's entry; 0 where there is none. */
      readonly serial: number;
      /** How long the directory was out of touch when it learned of this: it catches up on events of that time. */
      readonly behindMs: number;
      /** Why, for people. */
      readonly because: string;
    }
  | {
      /** A directory lost touch with its source, found it again, or went on without it for too long. */
      readonly kind: "directory-state";
      readonly atMs: number;
      readonly directory: string;
      readonly state: "in touch" | "out of touch" | "too old" | "not kept";
      readonly ageMs: number;
      readonly entries: number;
      readonly because: string;
    }
  | {
      /** An alias leads elsewhere, or a candidate was put on trial or given up, with the cause and the author. */
      readonly kind: "rollout-changed";
      readonly atMs: number;
      readonly alias: string;
      readonly revision: number;
      readonly model: string;
      readonly stable: string;
      /** Version on trial; empty for none. */
      readonly candidate: string;
      readonly change: "set" | "start" | "promote" | "abort" | "remove" | "rolled back" | "followed";
      /** Empty for what was done by itself. */
      readonly by: TenantId;
      readonly because: string;
    }
  | {
      /** A shadow's answer was compared with the one that the caller got. */
      readonly kind: "rollout-compared";
      readonly atMs: number;
      readonly callId: string;
      readonly alias: string;
      readonly agreed: boolean;
    }
  | {
      /** An answer of an endpoint was compared with what is known or what another endpoint says. */
      readonly kind: "answer-checked";
      readonly atMs: number;
      readonly callId: string;
      readonly model: string;
      readonly endpoint: EndpointId;
      /** The other endpoint, or `golden input`. */
      readonly against: string;
      readonly outcome: "agreed" | "wrong" | "undecided";
    }
  | {
      /** Answers of an endpoint are not believed any more: nothing is sent there but questions whose answer is known. */
      readonly kind: "endpoint-quarantined";
      readonly atMs: number;
      readonly endpoint: EndpointId;
      readonly model: string;
      readonly by: "golden input" | "agreement";
      /** For people, without any of the answer. */
      readonly because: string;
      /** Answers that it gave since it was last seen to be right, none of which is to be believed. */
      readonly unseen: number;
    }
  | {
      /** It answered rightly often enough to be believed again. */
      readonly kind: "endpoint-readmitted";
      readonly atMs: number;
      readonly endpoint: EndpointId;
      readonly afterMs: number;
    }
  | {
      readonly kind: "failure";
      readonly atMs: number;
      readonly callId: string;
      /** Of requests whose sender is known. */
      readonly tenant?: TenantId;
      /** The model of the request. */
      readonly model?: string;
      readonly stage: Stage;
      readonly reason: Reason;
      readonly message: string;
    };

/** Receives events. Must be quick and must not throw. */
export interface Observer {
  record(event: LongshoreEvent): void;
}

/** Records nothing. */
export const silentObserver: Observer = { record: () => undefined };

/** Passes each event to all of `observers` that record something. */
export function observers(...all: readonly Observer[]): Observer {
  const heard = all.filter((one) => one !== silentObserver);
  const [first = silentObserver] = heard;
  if (heard.length <= 1) return first;
  return {
    record(event) {
      for (const one of heard) one.record(event);
    },
  };
}
