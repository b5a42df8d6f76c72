import {
  abortError,
  bodyLength,
  type Call,
  traceFromHeaders,
  type InferenceRequest,
  type InferenceResponse,
  LongshoreError,
  ownCall,
  type ModelDescription,
  type Route,
  type StageTime,
  type Tensors,
  totalBytes,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import type { Api } from "./parts.ts";

/** What of an exchange is told to the observer: its span, its route, how it ended. */
export interface ExchangeEvents {
  /** Who asks and for what is known, and the gate took so long. Gives the call the span of this exchange. */
  begin(call: Call, route: Route | undefined): Call;
  /** The reply is there, and it ends the exchange: at once, or with the last of what it streams. */
  end(response: WireResponse): WireResponse;
}

/** The same, and `end` when all was read or nobody reads any more. */
async function* untilOver<T>(all: AsyncIterable<T>, end: () => void): AsyncIterable<T> {
  try {
    yield* all;
  } finally {
    end();
  }
}

/** Events of one exchange that began at `startedMs`. */
export function exchangeEvents(api: Api, request: WireRequest, startedMs: number): ExchangeEvents {
  const { clock, observer, telemetry } = api;
  let callId = "";
  let abort: AbortSignal | undefined;
  return {
    begin(call, route) {
      callId = call.id;
      abort = call.abort;
      const model = route && "model" in route ? route.model : undefined;
      const traced = telemetry.tracing.begin(traceFromHeaders(request.headers), model);
      const { trace, recorded, parentSpanId } = traced;
      const nowMs = clock.nowMs();
      observer.record({
        kind: "exchange-began",
        atMs: startedMs,
        callId,
        route: route?.kind ?? "unknown",
        tenant: call.tenant,
        ...(recorded && trace ? { trace } : {}),
        ...(parentSpanId === undefined ? {} : { parentSpanId }),
      });
      if (recorded) {
        const tookMs = nowMs - startedMs;
        observer.record({ kind: "stage-ended", atMs: nowMs, callId, stage: "identify", name: "", tookMs });
      }
      return trace ? Object.assign(ownCall(call), { trace }) : call;
    },
    end(response) {
      const { status, messages, body } = response;
      let over = false;
      const ended = (): void => {
        if (over) return;
        over = true;
        abort?.removeEventListener("abort", ended);
        const atMs = clock.nowMs();
        observer.record({ kind: "exchange-ended", atMs, callId, tookMs: atMs - startedMs, status });
      };
      // A sender that has left may never read what is streamed to it.
      if ((messages || body.kind === "stream") && abort?.aborted !== true) {
        abort?.addEventListener("abort", ended, { once: true });
      }
      if (messages) return { ...response, messages: untilOver(messages, ended) };
      if (body.kind === "stream") {
        return { ...response, body: { ...body, read: () => untilOver(body.read(), ended) } };
      }
      ended();
      return response;
    },
  };
}

/** What of an inference is told to the observer. Exactly one of `answered` and `failed` ends it. */
export interface InferenceEvents {
  /** A stage of the server's own, which began at `fromMs`, is over. */
  stage(stage: "wait" | "decode" | "encode", name: string, fromMs: number): void;
  /** The request's tensors are here, or it is known what they will be. */
  inputs(plain: InferenceRequest["inputs"], state: Tensors | undefined): void;
  /** One of the answers, of which there may be several, was made into a reply. */
  answer(response: InferenceResponse, reply: Pick<WireResponse, "body" | "message">): void;
  answered(): void;
  failed(thrown: unknown): void;
}

/** Bytes of a reply, in whatever encoding it leaves. */
function replyBytes({ body, message }: Pick<WireResponse, "body" | "message">): number {
  const tensors = message?.outputs.reduce((sum, { bytes }) => sum + bytes.byteLength, 0) ?? 0;
  return tensors + (bodyLength(body) ?? 0);
}

/** Answers to one request whose times are told apart. */
const maxTimedAnswers = 64;

/** Events of one inference, which has found its model now. `startedMs` is when its request came. */
export function inferenceEvents(
  api: Api,
  request: WireRequest,
  { name: model, version, batching, decoupled = false }: ModelDescription,
  call: Call,
  startedMs: number,
): InferenceEvents {
  const { clock, observer } = api;
  const { id: callId, tenant, trace } = call;
  const own: StageTime[] = [];
  const told: StageTime[] = [];
  let receivedBytes = request.message?.byteLength ?? bodyLength(request.body) ?? 0;
  let sentBytes = 0;
  let rows = 1;
  let answers = 0;
  let answeredMs = startedMs;
  const answersTookMs: number[] = [];
  let millijoules = 0;
  let energyLabel: "measured" | "estimated" = "measured";

  observer.record({ kind: "inference-began", atMs: clock.nowMs(), callId, model, version });
  const end = (outcome: "answered" | LongshoreError["reason"]): void => {
    const atMs = clock.nowMs();
    observer.record({
      kind: "inference-ended",
      atMs,
      callId,
      tenant,
      model,
      version,
      tookMs: atMs - startedMs,
      outcome,
      answers,
      ...(decoupled ? { answersTookMs } : {}),
      rows: outcome === "answered" ? rows : 0,
      stages: [...told, ...own],
      receivedBytes,
      sentBytes,
      millijoules,
      energyLabel: answers === 0 ? "estimated" : energyLabel,
      ...(trace?.sampled === true ? { traceId: trace.traceId } : {}),
    });
  };
  return {
    stage(stage, name, fromMs) {
      const atMs = clock.nowMs();
      own.push({ stage, name, tookMs: atMs - fromMs });
      observer.record({ kind: "stage-ended", atMs, callId, stage, name, tookMs: atMs - fromMs });
    },
    inputs(tensors, state) {
      let bytes = state ? totalBytes(state) : 0;
      for (const tensor of tensors.values()) {
        bytes += "read" in tensor ? tensor.byteLength : tensor.bytes.byteLength;
      }
      receivedBytes = Math.max(receivedBytes, bytes);
      const [first] = tensors.values();
      if (batching.maxBatchSize > 0) rows = first?.spec.shape[0] ?? 1;
    },
    answer({ account }, reply) {
      answers += 1;
      const atMs = clock.nowMs();
      if (answersTookMs.length < maxTimedAnswers) answersTookMs.push(atMs - answeredMs);
      answeredMs = atMs;
      sentBytes += replyBytes(reply);
      told.push(...account.stages);
      millijoules += account.energy.millijoules;
      if (account.energy.label === "estimated") energyLabel = "estimated";
    },
    answered: () => end("answered"),
    failed(thrown) {
      const error = call.abort.aborted
        ? abortError(call.abort, "transport")
        : LongshoreError.from(thrown, "execute", "answering the request");
      end(error.reason);
    },
  };
}
