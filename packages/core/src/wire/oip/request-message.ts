import { type Call, LongshoreError, type Writable } from "../../words/base/index.ts";
import { segmentKey } from "../../words/model/index.ts";
import {
  customParameters,
  type InferRequestMessage,
  packTensors,
  type RequestedOutput,
  scheduleParameters,
} from "../protocol/index.ts";
import { type InferenceRequest, type ModelKnowledge, readInputs } from "../endpoint/index.ts";
import { sequenceNumber } from "./foreign.ts";
import type { OipEndpointParts } from "./parts.ts";
import { sequenceParameters, stateTensors } from "./sequence-parameters.ts";

/**
 * A sequence's id as the server gets it. Where the server cannot tell the tenants of this endpoint apart, their ids must not
 * meet there; `/` is in no tenant's name.
 */
export function sequenceIdThere(
  id: string,
  { tenant }: Call,
  { forwardsTenants, info }: OipEndpointParts,
): string {
  const told = forwardsTenants === true && info.offers;
  return tenant === "local" || told ? id : `${tenant}/${id}`;
}

function wantedOutput(name: string, binary: boolean, classification: number | undefined): RequestedOutput {
  const wanted: Writable<RequestedOutput> = { name };
  if (binary) wanted.binary = true;
  if (classification) wanted.classification = classification;
  return wanted;
}

/** The request as the protocol has it, for either encoding. Throws `unsupported` for codecs that the server does not take. */
export async function requestMessage(
  parts: OipEndpointParts,
  request: InferenceRequest,
  known: Pick<ModelKnowledge, "numbersSequences" | "configuration"> | undefined,
  call: Call,
): Promise<InferRequestMessage> {
  const { codecs, info, wire = "binary" } = parts;
  const inputs = await readInputs(request.inputs, call);
  const coded = Object.values(request.codecs).some((codec) => codec !== "raw");
  if (coded && (wire === "json" || !info.offers)) {
    throw new LongshoreError(
      "unsupported",
      "encode",
      `${info.id} takes raw tensors only, but codecs were chosen for ${segmentKey(request.segment)}`,
    );
  }
  const { sequence, outputs, classes } = request;
  // Others may take a parameter that they do not know for a fault.
  const named = info.offers || known?.configuration ? classes : undefined;
  const id = sequence && sequenceIdThere(sequence.id, call, parts);
  for (const tensor of stateTensors(sequence?.state)) inputs.set(tensor.spec.name, tensor);
  const packed = await packTensors(inputs, request.codecs, codecs, call);
  return {
    parameters: {
      ...customParameters(request.parameters ?? {}),
      ...scheduleParameters(call),
      ...(sequence ? sequenceParameters(sequence) : {}),
      ...(id === undefined ? {} : { sequence_id: known?.numbersSequences ? sequenceNumber(id) : id }),
    },
    inputs: packed,
    binaryOutputs: wire === "binary",
    ...(outputs
      ? { outputs: outputs.map((name) => wantedOutput(name, wire === "binary", named?.get(name))) }
      : {}),
  };
}
