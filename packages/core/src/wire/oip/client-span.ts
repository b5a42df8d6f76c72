import { type Call, LongshoreError, newSpanId, ownCall, type Reason } from "../../words/base/index.ts";
import type { InferenceResponse } from "../endpoint/index.ts";
import type { OipEndpointParts } from "./parts.ts";

/**
 * A request to another server as a span of its own inside the span of the call: the call to send it with, and functions to
 * record the outcome.
 */
export function clientSpan(
  { clock, random, observer, info }: OipEndpointParts,
  model: string,
  call: Call,
): { readonly call: Call; tell(outcome: "answered" | Reason, sentBytes: number): void } {
  const startedMs = clock.nowMs();
  const { trace } = call;
  const own = trace?.sampled ? { ...trace, spanId: newSpanId(random) } : undefined;
  return {
    call: own ? Object.assign(ownCall(call), { trace: own }) : call,
    tell(outcome, sentBytes) {
      const atMs = clock.nowMs();
      observer.record({
        kind: "request-sent",
        atMs,
        callId: call.id,
        endpoint: info.id,
        model,
        tookMs: atMs - startedMs,
        sentBytes,
        outcome,
        ...(own && trace ? { trace: own, parentSpanId: trace.spanId } : {}),
      });
    },
  };
}

/**
 * Sends a request to another server as a span of its own, so that events there lie inside it, and records the outcome as an
 * event. Untraced calls are recorded, too.
 */
export async function asClient(
  parts: OipEndpointParts,
  model: string,
  call: Call,
  work: (call: Call) => Promise<InferenceResponse>,
): Promise<InferenceResponse> {
  const span = clientSpan(parts, model, call);
  try {
    const response = await work(span.call);
    span.tell("answered", response.account.sentBytes);
    return response;
  } catch (thrown) {
    span.tell(LongshoreError.from(thrown, "transport", `asking ${parts.info.id}`).reason, 0);
    throw thrown;
  }
}
