/*
 * An endpoint with its own models admits a request from its head and then reads it whole. An endpoint that only forwards passes a request
 * on as it came, without reading its tensors, and its answer returns the same way. The request is not rewritten, so its JSON must mean the
 * same to the next endpoint as it means here. Two steps decide this: one from the head before the body is read (`planHead`), and one from
 * the JSON (`planMessage`).
 */
import {
  type Call,
  LongshoreError,
  type ModelDescription,
  type WireForm,
  type WireRequest,
} from "@longshore/core";
import {
  accountHeader,
  agreementHeader,
  answersHeader,
  bodyLength,
  binaryOutputsParameter,
  headerLengthOf,
  isCustomParameter,
  type InferRequestMessage,
  rowsSuffix,
  statePrefix,
  type Writable,
} from "@longshore/core/internal";
import type { Holding } from "../../body/index.ts";
import type { IncomingRequest, InferenceApi, Served } from "../parts.ts";
import type { Head, InferRoute } from "./parse.ts";
import type { Received } from "./receive.ts";

/** How a request continues, as decided from its head. */
export interface InferencePlan {
  /** It may be forwarded while it arrives. The forwarding endpoint admits it later, when it knows more. */
  readonly sentOn: boolean;
  /** The admission, if granted. */
  readonly pass: Disposable | undefined;
  /** Minimum agreement of another variant that may replace the segment's. */
  readonly leastAgreementRatio: number | undefined;
  /** Whether the sender accepts any number of answers. */
  readonly several: boolean;
}

/** Minimum agreement of a variant that may replace the segment's. A variant requested by name is never replaced. */
function leastAgreementOf(incoming: IncomingRequest, route: InferRoute): number | undefined {
  const value = incoming.request.headers[agreementHeader];
  if (value === undefined || route.variant !== undefined) return undefined;
  if (/^(0|1|0?\.[0-9]{1,9}|1\.0{1,9})$/.test(value)) return Number(value);
  throw new LongshoreError("invalid-input", "admission", `header ${agreementHeader} must be from 0 to 1`);
}

/** Whether the sender accepts any number of answers. Over HTTP a header says so. */
function takesSeveral({ message, headers }: WireRequest): boolean {
  if (message) return message.stream;
  const value = headers[answersHeader];
  if (value === undefined || value === "several") return value !== undefined;
  throw new LongshoreError("invalid-input", "admission", `${answersHeader} can only be 'several'`);
}

/** Longest JSON before binary data of a body that is read while it arrives, in bytes. */
const mostHeadBytes = 65_536;

/** Whether the request may be forwarded, as far as its headers and its model decide. */
function mayBeSentOn(
  { endpoint, access }: InferenceApi,
  { request }: IncomingRequest,
  model: ModelDescription,
): boolean {
  const { headers, body, message } = request;
  if (endpoint.capabilities.sendsOn !== true || access.forwardHeaders) return false;
  if (model.decoupled === true || model.responseCache === true) return false;
  const headBytes = (message ? message.binary?.()?.headerLength : headerLengthOf(headers)) ?? 0;
  if (headBytes === 0 || headBytes > mostHeadBytes) return false;
  return message !== undefined || bodyLength(body) !== undefined;
}

/** Parameters are forwarded unchanged only if they have no meaning here. */
function plainParameters({ parameters }: InferRequestMessage): boolean {
  for (const name in parameters) {
    if (name !== binaryOutputsParameter && !isCustomParameter(name)) return false;
  }
  return true;
}

/** Whether a message means the same for the next endpoint as here, apart from the fields `mayBeSentOn` checks. */
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

/** Whether this endpoint rewrites the whole answer: over gRPC, or with an account of the run. */
export function rewritesAnswer({ request }: IncomingRequest): boolean {
  const asks = request.headers[accountHeader];
  return request.message !== undefined || asks === "1" || asks === "because";
}

/** The original form of a request, if its JSON allows forwarding it unchanged. */
export function planMessage(
  incoming: IncomingRequest,
  { message, form }: Received,
  call: Call,
): WireForm | undefined {
  if (!form || !meansTheSame(message)) return undefined;
  // An answer that is stored for its idempotency key is rewritten too.
  if (call.idempotencyKey !== undefined || rewritesAnswer(incoming)) return form;
  const { headerLength, body, crc32 } = form;
  // Assigned one by one, since properties after a spread are defined slowly, and this runs for every small request.
  const taken: Writable<WireForm> = { headerLength, body, takesArriving: true };
  if (crc32 !== undefined) taken.crc32 = crc32;
  return taken;
}

/** Asks the endpoint to admit the request. `held` releases the admission. */
export function admitInference(
  api: Served,
  { segment, call }: Head,
  leastAgreementRatio: number | undefined,
  held: Holding,
): Disposable | undefined {
  return held.keep(api.endpoint.capabilities.admit?.(segment, call, leastAgreementRatio));
}

/** The second step: decides from the head whether the request may be forwarded, and admits it if not. */
export function planHead(
  api: InferenceApi,
  route: InferRoute,
  incoming: IncomingRequest,
  head: Head,
  held: Holding,
): InferencePlan {
  const { knowledge } = head;
  const leastAgreementRatio = leastAgreementOf(incoming, route);
  const several = takesSeveral(incoming.request);
  const sentOn = knowledge.alias !== true && mayBeSentOn(api, incoming, knowledge.description);
  const pass = sentOn ? undefined : admitInference(api, head, leastAgreementRatio, held);
  return { sentOn, pass, leastAgreementRatio, several };
}
