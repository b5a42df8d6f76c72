import type { Call } from "../../words/base/index.ts";
import type { Endpoint, InferenceRequest, InferenceResponse } from "./endpoint.ts";

/**
 * All answers of an endpoint to one request, however many: those of `inferStream` where it has one, else the one of
 * `infer`. Throws, while it is read, what the endpoint throws; answers that came before stay valid.
 */
export async function* answersOf(
  endpoint: Endpoint,
  request: InferenceRequest,
  call: Call,
): AsyncIterable<InferenceResponse> {
  if (endpoint.capabilities?.inferStream) yield* endpoint.capabilities?.inferStream(request, call);
  else yield await endpoint.infer(request, call);
}
