import {
  type Call,
  type Clock,
  type Endpoint,
  type InferenceRequest,
  type InferenceResponse,
  type Observer,
} from "@longshore/core";
import { through } from "@longshore/core/internal";

/**
 * Records what each answer of an endpoint cost, for servers that run everything themselves. An offloading endpoint records its own
 * legs, lost ones included.
 */
export function chargedEndpoint(
  inner: Endpoint,
  { clock, observer }: { readonly clock: Clock; readonly observer: Observer },
): Endpoint {
  const note = (call: Call, { account }: InferenceResponse): void => {
    const { costMicros: micros, segment, endpoint } = account;
    if (micros === 0) return;
    const { id: callId, tenant } = call;
    observer.record({
      kind: "cost-charged",
      atMs: clock.nowMs(),
      callId,
      tenant,
      model: segment.model,
      endpoint,
      micros,
    });
  };
  if (
    inner.info.rates.microsPerSecond === 0 &&
    !inner.info.rates.microsPerRequest &&
    !inner.info.rates.microsPerJoule
  )
    return inner;
  const passed = through(inner);
  const { inferStream } = passed.capabilities ?? {};
  return {
    ...passed,
    async infer(request: InferenceRequest, call: Call, progress) {
      const response = await inner.infer(request, call, progress);
      note(call, response);
      return response;
    },
    capabilities: {
      ...inner.capabilities,
      ...(inferStream
        ? {
            async *inferStream(request: InferenceRequest, call: Call) {
              for await (const response of inferStream(request, call)) {
                note(call, response);
                yield response;
              }
            },
          }
        : {}),
    },
  };
}
