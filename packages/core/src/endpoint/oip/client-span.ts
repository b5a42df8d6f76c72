import { type Call, LongshoreError, newSpanId, type Reason } from "../../base/index.ts";
import type { InferenceResponse } from "../endpoint.ts";
import type { OipEndpointParts } from "./parts.ts";

/**
 * Asks another server as a span of its own, inside that of the call, so that what happens there lies inside the asking
 * here; and tells the observer how it went. Untraced calls are told of, too.
 */
export async function asClient(
  { clock, random, observer, info }: OipEndpointParts,
  model: string,
  call: Call,
  work: (call: Call) => Promise<InferenceResponse>,
): Promise<InferenceResponse> {
  const startedMs = clock.nowMs();
  const { trace } = call;
  const own = trace?.sampled ? { ...trace, spanId: newSpanId(random) } : undefined;
  const tell = (outcome: "answered" | Reason, sentBytes: number): void => {
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
  };
  try {
    const response = await work(own ? { ...call, trace: own } : call);
    tell("answered", response.account.sentBytes);
    return response;
  } catch (thrown) {
    tell(LongshoreError.from(thrown, "transport", `asking ${info.id}`).reason, 0);
    throw thrown;
  }
}
