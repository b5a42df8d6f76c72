import type { Call, EndpointId, Writable } from "../../words/base/index.ts";
import type { Endpoint, InferenceRequest } from "../../wire/endpoint/index.ts";
import { isForeignDigest } from "../../wire/oip/index.ts";
import { type Leg, legKey } from "../../decide/plan/index.ts";
import { type HeldCrossing, rulesFor, outputsToReturn } from "../steps/index.ts";
import type { CutId } from "../../words/model/index.ts";
import { sequencePosition } from "../sequence/index.ts";
import type { Asked, Job } from "./job.ts";

/**
 * The request of a leg to its endpoint: the part with its inputs, and the fields of the request that belong to it. Outputs are selected
 * where the answer is made. An admission pass is valid only here, for the part that it was granted for.
 */
export function legRequest(
  { known, to, extras: asked, sequence, held, confirm }: Job,
  leg: Leg,
  inputs: InferenceRequest["inputs"],
  { info }: Endpoint,
  here: boolean,
): InferenceRequest {
  const { segment, codecs } = leg;
  const outputs = segment.to === to ? asked?.outputs : here ? undefined : outputsToReturn(known, segment);
  const { parameters, leastAgreementRatio, pass, wire, classes } = asked ?? {};
  const granted = here && pass && segment.from === held.cut && segment.to === to;
  // Assigned one by one, since this is done for every small request.
  const request: Writable<InferenceRequest> = {
    segment,
    inputs,
    codecs,
  };
  if (outputs) request.outputs = outputs;
  // Formatted texts that differ in the last decimal place are not different answers, so confirmation compares the figures.
  if (classes && segment.to === to && !confirm) request.classes = classes;
  if (parameters) request.parameters = parameters;
  if (leastAgreementRatio !== undefined) request.leastAgreementRatio = leastAgreementRatio;
  if (granted) request.pass = pass;
  if (wire && !here && isForwardedWhole(held, to, leg)) request.wire = wire;
  return sequence ? Object.assign(request, sequencePosition(sequence, leg, info.state)) : request;
}

/** Whether a leg is the whole request, with the body as it came. */
export function isForwardedWhole({ cut }: HeldCrossing, to: CutId, { takes, segment }: Leg): boolean {
  return takes === "request" && segment.from === cut && segment.to === to;
}

/** The changes of the call for a leg elsewhere: its path includes this endpoint, and its rules the data classes of the crossing. */
export function legCall(
  self: EndpointId,
  { call, known, sequence }: Asked,
  leg: Leg,
  mostWaitMs?: number,
): Partial<Omit<Call, "abort">> {
  // Such a run may happen twice, which costs less than remembering each answer. Foreign servers give no guarantee.
  const keepsNothing = !sequence && !isForeignDigest(leg.segment.digest);
  return {
    mostWaitMs,
    // A server that this loop is the endpoint of has written it down already.
    path: call.path.at(-1) === self ? call.path : [...call.path, self],
    rules: rulesFor(call.rules, known, leg.segment),
    idempotencyKey: keepsNothing && call.idempotencyKey === undefined ? undefined : legKey(call, leg),
  };
}
