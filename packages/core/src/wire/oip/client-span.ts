import { type Call, newSpanId, ownCall, type Reason } from "../../words/base/index.ts";
import type { OipEndpointParts } from "./parts.ts";

/**
 * A request to another server as a span of its own inside the span of the call: the call to send it with, and functions to
 * record the outcome. Untraced calls are recorded, too.
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
