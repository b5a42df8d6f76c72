import {
  type Call,
  type Clock,
  type Endpoint,
  type InferenceRequest,
  type InferenceResponse,
  type Observer,
} from "@longshore/core";
import { type CarbonIntensity, microgramsOf, wrapEndpoint } from "@longshore/core/internal";

/**
 * Records what each answer of an endpoint cost, and its CO2 where `carbon` is stated, for servers that run everything themselves. An offloading endpoint records its own
 * legs, lost ones included.
 */
export function chargedEndpoint(
  inner: Endpoint,
  {
    clock,
    observer,
    carbon,
  }: { readonly clock: Clock; readonly observer: Observer; readonly carbon?: CarbonIntensity },
): Endpoint {
  const note = (call: Call, { account }: InferenceResponse): void => {
    const { costMicros: micros, segment, endpoint, energy, zone } = account;
    const { id: callId, tenant } = call;
    const about = { atMs: clock.nowMs(), callId, tenant, model: segment.model, endpoint };
    if (micros > 0) observer.record({ kind: "cost-charged", ...about, micros });
    if (!carbon) return;
    const grams = carbon.gramsPerKilowattHour(zone, clock.wallMs());
    const micrograms = grams === undefined ? undefined : microgramsOf(energy.millijoules, grams);
    observer.record({ kind: "carbon-counted", ...about, micrograms });
  };
  if (
    !carbon &&
    inner.info.rates.microsPerSecond === 0 &&
    !inner.info.rates.microsPerRequest &&
    !inner.info.rates.microsPerJoule
  )
    return inner;
  const { inferStream } = inner.capabilities;
  return wrapEndpoint(inner, {
    async infer(request: InferenceRequest, call: Call, progress) {
      const response = await inner.infer(request, call, progress);
      note(call, response);
      return response;
    },
    capabilities: {
      inferStream:
        inferStream &&
        async function* (request: InferenceRequest, call: Call) {
          for await (const response of inferStream(request, call)) {
            note(call, response);
            yield response;
          }
        },
    },
  });
}
