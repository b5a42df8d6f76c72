import type {
  Call,
  InferenceRequest,
  InferenceResponse,
  IncomingTensor,
  ModelDescription,
  Tensors,
  WireForm,
  WireResponse,
} from "@longshore/core";
import {
  accountHeader,
  binaryType,
  bodyLength,
  customParameters,
  headerLengthHeader,
  headerLengthOf,
  type InferRequestMessage,
  loadHeaders,
  rowsSuffix,
  statePrefix,
  tookHeader,
} from "@longshore/core/internal";
import type { Api, Asked } from "./parts.ts";
import type { Received } from "./receive.ts";
import { stateChecksum } from "./replies.ts";

/**
 * Requests that an endpoint may send on as they came, without a look at their tensors, and answers that come back the same
 * way. What such a request says in its JSON must be what this endpoint would say to the next one, since nobody writes it again.
 */

/** The most JSON before binary data for which a body is looked at while it arrives. */
export const mostHeadBytes = 65_536;

/** Whether the request may be sent on, as far as its headers and its model tell. */
export function mayBeSentOn(
  { endpoint, forwardHeaders }: Api,
  { request }: Asked,
  model: ModelDescription,
): boolean {
  const { headers, body, message } = request;
  if (endpoint.capabilities?.sendsOn !== true || forwardHeaders) return false;
  if (model.decoupled === true || model.responseCache === true) return false;
  const headBytes = (message ? message.binary?.()?.headerLength : headerLengthOf(headers)) ?? 0;
  if (headBytes === 0 || headBytes > mostHeadBytes) return false;
  return message !== undefined || bodyLength(body) !== undefined;
}

/** Parameters that travel on unchanged are those without a meaning here. */
function plainParameters({ parameters }: InferRequestMessage): boolean {
  const custom = customParameters(parameters);
  for (const name in parameters) {
    if (name !== "binary_data_output" && !Object.hasOwn(custom, name)) return false;
  }
  return true;
}

/** Whether a message, besides what `mayBeSentOn` looks at, means for the next endpoint what it means here. */
function meansTheSame(message: InferRequestMessage): boolean {
  const { inputs, outputs, binaryOutputs } = message;
  for (const { name, parameters, shared } of inputs) {
    if (shared || name.endsWith(rowsSuffix) || name.startsWith(statePrefix)) return false;
    for (const _ in parameters) return false;
  }
  if (!outputs && !binaryOutputs) return false;
  for (const { binary, classification, shared } of outputs ?? []) {
    if (shared || classification || !(binary ?? binaryOutputs)) return false;
  }
  return plainParameters(message);
}

/** Whether its answer is made here from all of it, however it came: one over gRPC, or one that tells what happened. */
export function isAnsweredAnew({ request }: Asked): boolean {
  const asks = request.headers[accountHeader];
  return request.message !== undefined || asks === "1" || asks === "because";
}

/** The form in which a request came, where it can be sent on in it. */
export function formToSendOn(asked: Asked, { message, form }: Received, call: Call): WireForm | undefined {
  if (!form || !meansTheSame(message)) return undefined;
  // So is an answer that is kept for who asks again.
  if (call.idempotencyKey !== undefined || isAnsweredAnew(asked)) return form;
  return { ...form, takesArriving: true };
}

/** Inputs that are still on their way; all are read when the first of them is. */
export function arrivingInputs(
  { inputs }: InferRequestMessage,
  tensors: () => Promise<Tensors>,
): InferenceRequest["inputs"] {
  const arriving = new Map<string, IncomingTensor>();
  for (const { name, datatype, shape, bytes, awaitedBytes } of inputs) {
    arriving.set(name, {
      spec: { name, datatype, shape },
      byteLength: awaitedBytes ?? bytes.byteLength,
      // Every input of the message was made into a tensor under its own name.
      read: async () => (await tensors()).get(name) as Awaited<ReturnType<IncomingTensor["read"]>>,
    });
  }
  return arriving;
}

/** The reply in the form in which the answer came. `tookMs` is the time since the last byte of the request came. */
export function replyAsItCame(
  api: Api,
  asked: Asked,
  { load }: InferenceResponse,
  { headerLength, body, crc32 }: WireForm,
  bodyMs: number,
): WireResponse {
  const headers = load ? loadHeaders(load, asked.request.headers) : {};
  headers[tookHeader] = Math.max(0, api.clock.nowMs() - bodyMs).toFixed(3);
  headers["content-type"] = binaryType;
  headers[headerLengthHeader] = String(headerLength);
  stateChecksum(api, asked, headers, body, crc32);
  return { status: 200, headers, body };
}
