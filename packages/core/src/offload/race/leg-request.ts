import type { Call, EndpointId, Writable } from "../../words/base/index.ts";
import type { Endpoint, InferenceRequest } from "../../wire/endpoint/index.ts";
import { isForeignDigest } from "../../wire/oip/index.ts";
import { type Leg, legKey } from "../../decide/plan/index.ts";
import { type Held, rulesFor, wantedBack } from "../steps/index.ts";
import type { CutId } from "../../words/model/index.ts";
import { sequencePosition } from "../sequence/index.ts";
import type { Job } from "./job.ts";

/**
 * What a leg asks of its endpoint: its part with its inputs, and what of the request is for that part. Outputs are chosen
 * where the answer is made, and a pass counts for the very part that it was granted for, here.
 */
export function legRequest(
  { known, to, asked, sequence, held, confirm }: Job,
  leg: Leg,
  inputs: InferenceRequest["inputs"],
  { info }: Endpoint,
  here: boolean,
): InferenceRequest {
  const { segment, codecs } = leg;
  const outputs = segment.to === to ? asked?.outputs : here ? undefined : wantedBack(known, segment);
  const { parameters, leastAgreementRatio, pass, wire, classes } = asked ?? {};
  const granted = here && pass && segment.from === held.cut && segment.to === to;
  // Assigned one by one, since this is done for every small request.
  const request: Writable<InferenceRequest> = {
    segment,
    inputs,
    codecs,
  };
  if (outputs) request.outputs = outputs;
  // Texts of figures that differ in the last endpoint are no other opinion, so two opinions are on the figures.
  if (classes && segment.to === to && !confirm) request.classes = classes;
  if (parameters) request.parameters = parameters;
  if (leastAgreementRatio !== undefined) request.leastAgreementRatio = leastAgreementRatio;
  if (granted) request.pass = pass;
  if (wire && !here && sentOn(held, to, leg)) request.wire = wire;
  return sequence ? Object.assign(request, sequencePosition(sequence, leg, info.state)) : request;
}

/** Whether a leg is all of the request, with what came with it. */
export function sentOn({ cut }: Held, to: CutId, { takes, segment }: Leg): boolean {
  return takes === "request" && segment.from === cut && segment.to === to;
}

/** What of the call is different for a leg elsewhere: it has been here, too, and carries what clings to its crossing. */
export function legCall(
  self: EndpointId,
  { call, known, sequence }: Job,
  leg: Leg,
  mostWaitMs?: number,
): Partial<Omit<Call, "abort">> {
  // That may be done twice, which costs less than to remember the answer of each. Of what runs on servers that are not ours nobody knows.
  const keepsNothing = !sequence && !isForeignDigest(leg.segment.digest);
  return {
    mostWaitMs,
    // A server that this loop is the endpoint of has written it down already.
    path: call.path.at(-1) === self ? call.path : [...call.path, self],
    rules: rulesFor(call.rules, known, leg.segment),
    idempotencyKey: keepsNothing && call.idempotencyKey === undefined ? undefined : legKey(call, leg),
  };
}
