import { watched } from "../body/index.ts";
import type { InferenceResponse } from "./endpoint.ts";

/** Whether an answer is still on its way: then `outputs` is empty. */
export function isArriving({ wire }: InferenceResponse): boolean {
  return wire?.body.kind === "stream";
}

/** Calls `end` when nothing of a response is on its way any more: at once, or when all of its body was read or left. */
export function untilRead(response: InferenceResponse, end: () => void): InferenceResponse {
  const { wire } = response;
  if (wire?.body.kind !== "stream") {
    end();
    return response;
  }
  return { ...response, wire: { ...wire, body: watched(wire.body, { over: end }) } };
}
