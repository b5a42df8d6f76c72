import type { Call } from "../../words/base/index.ts";
import type { Endpoint, InferenceRequest, InferenceResponse } from "./endpoint.ts";

/**
 * All answers of an endpoint to one request, however many: those of `inferStream` if it has one, else the one of `infer`. The
 * iteration throws the endpoint's error; answers that came before stay valid.
 */
export async function* answersOf(
  endpoint: Endpoint,
  request: InferenceRequest,
  call: Call,
): AsyncIterable<InferenceResponse> {
  if (endpoint.capabilities.inferStream) yield* endpoint.capabilities.inferStream(request, call);
  else yield await endpoint.infer(request, call);
}
