import type { Endpoint, InferenceResponse } from "@longshore/core";
import { wrapEndpoint } from "@longshore/core/internal";

/** The response with tensors of its own, which the receiver may take or free. */
function copied(response: InferenceResponse): InferenceResponse {
  const outputs = new Map(
    [...response.outputs].map(([name, { spec, bytes, rows }]) => [
      name,
      { spec, bytes: bytes.slice(), ...(rows ? { rows: rows.slice() } : {}) },
    ]),
  );
  return { ...response, outputs };
}

/**
 * An engine that runs each segment once and answers with copies of what came of it from then on: for requests that all have the same
 * inputs. A device has processors of its own in reality; runs of one that stands for it here would take theirs from the server.
 */
export function madeOnce(engine: Endpoint): Endpoint {
  const made = new Map<string, Promise<InferenceResponse>>();
  return wrapEndpoint(engine, {
    infer(request, call) {
      const { model, variant, from, to } = request.segment;
      const key = JSON.stringify([model, variant, from, to]);
      // The first caller may give up; the others still wait.
      const response =
        made.get(key) ?? engine.infer(request, { ...call, abort: new AbortController().signal });
      made.set(key, response);
      response.catch(() => made.delete(key));
      return response.then(copied);
    },
  });
}
