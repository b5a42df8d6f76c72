/*
 * An endpoint with models of its own runs a request, so the request is admitted from its head and then read whole. An endpoint that only
 * forwards sends a request on as it came, without a look at its tensors, and its answer comes back the same way. Nobody writes such
 * a request again, so what its JSON says here must be what this endpoint would say to the next one. That is known in two steps: what the
 * head tells before the body is read (`planHead`), and what the JSON tells (`planMessage`).
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
  customParameters,
  headerLengthOf,
  type InferRequestMessage,
  rowsSuffix,
  statePrefix,
} from "@longshore/core/internal";
import type { Holding } from "../../body/index.ts";
import type { Api, Asked } from "../parts.ts";
import type { Head, InferRoute } from "./parse.ts";
import type { Received } from "./receive.ts";

/** How a request goes on, as far as its head tells. */
export interface InferencePlan {
  /** It may be sent on while it arrives: the endpoint that does so admits it, when it knows more. */
  readonly sentOn: boolean;
  /** What admission granted. */
  readonly pass: Disposable | undefined;
  /** The least agreement of another variant that may stand in for the segment's. */
  readonly leastAgreementRatio: number | undefined;
  /** The sender takes any number of answers. */
  readonly several: boolean;
}

/** How far another variant may stand in for the one of the segment; a variant that was asked for by name is kept to. */
function leastAgreementOf(asked: Asked, route: InferRoute): number | undefined {
  const value = asked.request.headers[agreementHeader];
  if (value === undefined || route.variant !== undefined) return undefined;
  if (/^(0|1|0?\.[0-9]{1,9}|1\.0{1,9})$/.test(value)) return Number(value);
  throw new LongshoreError("invalid-input", "admission", `header ${agreementHeader} must be from 0 to 1`);
}

/** Whether the sender takes any number of answers. Over HTTP it says so in a header. */
function takesSeveral({ message, headers }: WireRequest): boolean {
  if (message) return message.stream;
  const value = headers[answersHeader];
  if (value === undefined || value === "several") return value !== undefined;
  throw new LongshoreError("invalid-input", "admission", `${answersHeader} can only be 'several'`);
}

/** The most JSON before binary data for which a body is looked at while it arrives. */
const mostHeadBytes = 65_536;

/** Whether the request may be sent on, as far as its headers and its model tell. */
function mayBeSentOn({ endpoint, access }: Api, { request }: Asked, model: ModelDescription): boolean {
  const { headers, body, message } = request;
  if (endpoint.capabilities?.sendsOn !== true || access.forwardHeaders) return false;
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

/** The form in which a request came, where its JSON says that it can be sent on in it. */
export function planMessage(asked: Asked, { message, form }: Received, call: Call): WireForm | undefined {
  if (!form || !meansTheSame(message)) return undefined;
  // So is an answer that is kept for who asks again.
  if (call.idempotencyKey !== undefined || isAnsweredAnew(asked)) return form;
  return { ...form, takesArriving: true };
}

/** Asks the endpoint to admit the request; `held` gives back what that grants. */
export function admitInference(
  api: Api,
  { segment, call }: Head,
  leastAgreementRatio: number | undefined,
  held: Holding,
): Disposable | undefined {
  return held.keep(api.endpoint.capabilities?.admit?.(segment, call, leastAgreementRatio));
}

/** The second step: decides from the head whether the request may be sent on, and admits it if not. */
export function planHead(
  api: Api,
  route: InferRoute,
  asked: Asked,
  head: Head,
  held: Holding,
): InferencePlan {
  const { knowledge } = head;
  const leastAgreementRatio = leastAgreementOf(asked, route);
  const several = takesSeveral(asked.request);
  const sentOn = knowledge.alias !== true && mayBeSentOn(api, asked, knowledge.description);
  const pass = sentOn ? undefined : admitInference(api, head, leastAgreementRatio, held);
  return { sentOn, pass, leastAgreementRatio, several };
}
