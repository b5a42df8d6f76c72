import {
  type Call,
  type Clock,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  type LongshoreEvent,
  type ModelDescription,
  type Observer,
  type StageTime,
  type Tensors,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import {
  abortError,
  bodyLength,
  bytesOfInputs,
  traceFromHeaders,
  ownCall,
  pathPattern,
  type Route,
  totalBytes,
  watched,
  watchedChunks,
  type Writable,
} from "@longshore/core/internal";
import type { Telemetry } from "./telemetry.ts";

type TracedWire = NonNullable<(LongshoreEvent & { readonly kind: "exchange-began" })["wire"]>;

/** The parts that make events. */
interface EventParts {
  readonly clock: Clock;
  readonly observer: Observer;
  readonly telemetry: Pick<Telemetry, "tracing">;
}

/** Longest path and host in a span: senders choose them. */
const maxAddress = 256;

/** A request in the terms of its protocol. */
function wireOf({ method, path, headers, peer, rpc }: WireRequest): TracedWire {
  const pattern = pathPattern(path);
  const host = headers["host"];
  return {
    method,
    path: path.split("?", 1).join("").slice(0, maxAddress),
    encrypted: peer?.encrypted === true,
    ...(pattern === undefined ? {} : { pattern }),
    ...(host === undefined ? {} : { host: host.slice(0, maxAddress) }),
    ...(rpc === undefined ? {} : { rpc }),
  };
}

/** Entries of a list, after which `end` is called, also when their reader leaves. */
function* untilListed<T>(all: Iterable<T>, end: () => void): Iterable<T> {
  try {
    yield* all;
  } finally {
    end();
  }
}

/** The events of an exchange that began at `startedMs`: its span, its route, how it ended. */
export class ExchangeEvents {
  readonly #parts: EventParts;
  readonly #request: WireRequest;
  readonly #startedMs: number;
  #callId = "";
  #abort: AbortSignal | undefined;
  #begun = false;
  #over = false;

  constructor(parts: EventParts, request: WireRequest, startedMs: number) {
    this.#parts = parts;
    this.#request = request;
    this.#startedMs = startedMs;
  }

  get begun(): boolean {
    return this.#begun;
  }

  /** The sender and target are known, and the gate took this long. Gives the call the span of this exchange. */
  begin(call: Call, route: Route | undefined): Call {
    const { clock, observer, telemetry } = this.#parts;
    const callId = call.id;
    this.#callId = callId;
    this.#begun = true;
    this.#abort = call.abort;
    const model = route && "model" in route ? route.model : undefined;
    const traced = telemetry.tracing.begin(traceFromHeaders(this.#request.headers), model);
    const { trace, recorded, parentSpanId } = traced;
    const startedMs = this.#startedMs;
    // Optional fields are assigned one by one, here and below, since spreading them is slow and this runs for every small request.
    const event: Writable<Extract<LongshoreEvent, { kind: "exchange-began" }>> = {
      kind: "exchange-began",
      atMs: startedMs,
      callId,
      route: route?.kind ?? "unknown",
      tenant: call.tenant,
    };
    if (recorded && trace) {
      event.trace = trace;
      event.wire = wireOf(this.#request);
    }
    if (parentSpanId !== undefined) event.parentSpanId = parentSpanId;
    observer.record(event);
    if (recorded) {
      const atMs = clock.nowMs();
      const tookMs = atMs - startedMs;
      observer.record({ kind: "stage-ended", atMs, callId, stage: "identify", name: "", tookMs });
    }
    return trace ? Object.assign(ownCall(call), { trace }) : call;
  }

  /** The reply is there, and it ends the exchange: at once, or with the last of what it streams. */
  end(response: WireResponse): WireResponse {
    const { messages, body, entries } = response;
    if (!messages && body.kind !== "stream") {
      this.#ended(response.status);
      return response;
    }
    const abort = this.#abort;
    const ended = (): void => {
      abort?.removeEventListener("abort", ended);
      this.#ended(response.status);
    };
    // A sender that has left may never read what is streamed to it.
    if (abort?.aborted !== true) abort?.addEventListener("abort", ended, { once: true });
    const watch = { over: ended };
    if (messages) return { ...response, messages: watchedChunks(messages, watch) };
    if (body.kind !== "stream") return response;
    return {
      ...response,
      body: watched(body, watch),
      // A writer of the reply in another form reads these instead of the body.
      ...(entries ? { entries: untilListed(entries, ended) } : {}),
    };
  }

  #ended(status: number): void {
    if (this.#over) return;
    this.#over = true;
    const { clock, observer } = this.#parts;
    const atMs = clock.nowMs();
    const tookMs = atMs - this.#startedMs;
    observer.record({ kind: "exchange-ended", atMs, callId: this.#callId, tookMs, status });
  }
}

/** Bytes of a reply, in whatever encoding it leaves. */
function replyBytes({ body, message }: Pick<WireResponse, "body" | "message">): number {
  const tensors = message?.outputs.reduce((sum, { bytes }) => sum + bytes.byteLength, 0) ?? 0;
  return tensors + (bodyLength(body) ?? 0);
}

/** Answers to one request that are timed separately. */
const maxTimedAnswers = 64;

/**
 * The events of an inference, which has found its model now. Exactly one of `answered` and `failed` ends it.
 *
 * `startedMs` is when its request came.
 */
export class InferenceEvents {
  readonly #parts: EventParts;
  readonly #description: ModelDescription;
  readonly #call: Call;
  readonly #startedMs: number;
  readonly #own: StageTime[] = [];
  /** Of one answer as its account has them, of several in a list of its own. */
  #told: readonly StageTime[] = [];
  #toldOfSeveral: StageTime[] | undefined;
  #receivedBytes: number;
  #sentBytes = 0;
  #rows = 1;
  #answers = 0;
  #answeredMs: number;
  /** Of models that may give several. */
  readonly #answersTookMs: { readonly tookMs: number; readonly encodeMs: number }[] | undefined;
  #encodeMs = 0;
  #millijoules = 0;
  #energyLabel: "measured" | "estimated" = "measured";

  constructor(
    parts: EventParts,
    request: WireRequest,
    description: ModelDescription,
    call: Call,
    startedMs: number,
  ) {
    this.#parts = parts;
    this.#description = description;
    this.#call = call;
    this.#startedMs = startedMs;
    this.#answeredMs = startedMs;
    this.#answersTookMs = description.decoupled === true ? [] : undefined;
    this.#receivedBytes = request.message?.byteLength ?? bodyLength(request.body) ?? 0;
    const { name: model, version } = description;
    const atMs = parts.clock.nowMs();
    parts.observer.record({ kind: "inference-began", atMs, callId: call.id, model, version });
  }

  /** A stage of the server's own, which began at `fromMs`, has ended. */
  stage(stage: "wait" | "decode" | "encode", name: string, fromMs: number): void {
    const { clock, observer } = this.#parts;
    const atMs = clock.nowMs();
    const tookMs = atMs - fromMs;
    if (stage === "encode") this.#encodeMs = tookMs;
    this.#own.push({ stage, name, tookMs });
    observer.record({ kind: "stage-ended", atMs, callId: this.#call.id, stage, name, tookMs });
  }

  /** The request's tensors are here, or it is known what they will be. */
  inputs(tensors: InferenceRequest["inputs"], state: Tensors | undefined): void {
    const bytes = bytesOfInputs(tensors) + (state ? totalBytes(state) : 0);
    this.#receivedBytes = Math.max(this.#receivedBytes, bytes);
    if (this.#description.batching.maxBatchSize === 0) return;
    for (const { spec } of tensors.values()) {
      this.#rows = spec.shape[0] ?? 1;
      return;
    }
  }

  /** One of the answers, of which there may be several, was made into a reply. */
  answer({ account }: InferenceResponse, reply: Pick<WireResponse, "body" | "message">): void {
    this.#answers += 1;
    const took = this.#answersTookMs;
    if (took) {
      const atMs = this.#parts.clock.nowMs();
      const tookMs = atMs - this.#answeredMs;
      if (took.length < maxTimedAnswers) took.push({ tookMs, encodeMs: Math.min(this.#encodeMs, tookMs) });
      this.#answeredMs = atMs;
    }
    this.#sentBytes += replyBytes(reply);
    if (this.#answers === 1) this.#told = account.stages;
    else {
      this.#toldOfSeveral ??= [...this.#told];
      this.#told = this.#toldOfSeveral;
      this.#toldOfSeveral.push(...account.stages);
    }
    this.#millijoules += account.energy.millijoules;
    if (account.energy.label === "estimated") this.#energyLabel = "estimated";
  }

  answered(): void {
    this.#end("answered");
  }

  failed(thrown: unknown): void {
    const { abort } = this.#call;
    const error = abort.aborted
      ? abortError(abort, "transport")
      : LongshoreError.from(thrown, "execute", "answering the request");
    this.#end(error.reason);
  }

  #end(outcome: "answered" | LongshoreError["reason"]): void {
    const { clock, observer } = this.#parts;
    const { id: callId, tenant, trace } = this.#call;
    const { name: model, version } = this.#description;
    const answersTookMs = this.#answersTookMs;
    const atMs = clock.nowMs();
    const event: Writable<Extract<LongshoreEvent, { kind: "inference-ended" }>> = {
      kind: "inference-ended",
      atMs,
      callId,
      tenant,
      model,
      version,
      tookMs: atMs - this.#startedMs,
      outcome,
      answers: this.#answers,
      rows: outcome === "answered" ? this.#rows : 0,
      stages: [...this.#told, ...this.#own],
      receivedBytes: this.#receivedBytes,
      sentBytes: this.#sentBytes,
      millijoules: this.#millijoules,
      energyLabel: this.#answers === 0 ? "estimated" : this.#energyLabel,
    };
    if (answersTookMs) event.answersTookMs = answersTookMs;
    if (trace?.sampled === true) event.traceId = trace.traceId;
    observer.record(event);
  }
}
