import {
  emptyBody,
  endCut,
  type InferenceResponse,
  LongshoreError,
  type ModelDescription,
  type Segment,
  type Call,
  type WireResponse,
} from "@longshore/core";
import {
  accountHeader,
  accountParameter,
  becauseParameter,
  type InferReplyMessage,
  type InferRequestMessage,
  loadHeaders,
  packTensors,
  sealParameter,
  stateTensors,
  tookHeader,
  writeInferReplyInSteps,
  turnWhileWanted,
} from "@longshore/core/internal";
import { binaryChoice, wantedOutputs } from "../body/index.ts";
import { serverTiming, serverTimingHeader } from "../telemetry/index.ts";
import type { Api, Asked } from "./parts.ts";
import { stateChecksum } from "./replies.ts";
import { writeShared } from "./shared-memory.ts";

/** Refuses outputs that the model does not have, before it runs. */
export function checkRequested(
  message: InferRequestMessage,
  segment: Segment,
  description: ModelDescription,
): void {
  if (segment.to !== endCut) return;
  for (const { name } of message.outputs ?? []) {
    if (!description.outputs.some((output) => output.name === name)) {
      throw new LongshoreError("invalid-input", "admission", `the model has no output ${name}`);
    }
  }
}

/** Refuses outputs that are asked for as JSON and have no such form, before the model runs. */
export function checkJsonForms(
  message: InferRequestMessage,
  { to }: Segment,
  description: ModelDescription,
): void {
  if (to !== endCut) return;
  for (const { name, datatype } of description.outputs) {
    if (datatype !== "FP16" && datatype !== "BF16") continue;
    const asked = message.outputs ? message.outputs.find((output) => output.name === name) : { name };
    if (!asked || asked.shared || asked.classification || binaryChoice(message)(asked)) continue;
    throw new LongshoreError(
      "invalid-input",
      "admission",
      `output ${name} is ${datatype}, which has no JSON form; ask for it as binary data`,
    );
  }
}

const noCodecs: Parameters<typeof packTensors>[1] = {};

/** The reply to an inference. `sinceMs`: when it would have begun, had nothing of its time been spent on reading the body. */
export async function inferReply(
  api: Api,
  asked: Asked,
  message: InferRequestMessage,
  description: ModelDescription,
  response: InferenceResponse,
  call: Call,
  sinceMs: number,
): Promise<WireResponse> {
  const pause = (): Promise<void> => turnWhileWanted(api.clock, call.abort, "encode");
  const wanted = wantedOutputs(response, message, description, pause);
  const outputs = wanted instanceof Promise ? await wanted : wanted;
  const state = stateTensors(response.state).map((tensor) => [tensor.spec.name, tensor] as const);
  const all = state.length === 0 ? outputs : new Map([...outputs, ...state]);
  const packing = packTensors(all, noCodecs, api.codecs, call);
  const packed = packing instanceof Promise ? await packing : packing;
  const asksAccount = asked.request.headers[accountHeader] === "1";
  const { confidenceRatio, stateSeal } = response;
  // Assigned one by one, here and below, since this is done for every small request.
  const parameters: Record<string, number | string> = {};
  if (confidenceRatio !== undefined) parameters["longshore_confidence"] = confidenceRatio;
  if (stateSeal !== undefined) parameters[sealParameter] = stateSeal;
  if (asksAccount) parameters[accountParameter] = JSON.stringify(response.account);
  if (response.because !== undefined) parameters[becauseParameter] = response.because;
  const written = writeShared(api, asked, message, packed);
  const described = {
    modelName: description.name,
    modelVersion: description.version,
    parameters,
    outputs: written instanceof Promise ? await written : written,
  };
  const reply: InferReplyMessage = message.id === undefined ? described : { ...described, id: message.id };
  const told = response.load ? loadHeaders(response.load, asked.request.headers) : {};
  told[tookHeader] = Math.max(0, api.clock.nowMs() - sinceMs).toFixed(3);
  const asksTimes = asksAccount || asked.request.headers[accountHeader] === "timing";
  if (asksTimes) told[serverTimingHeader] = serverTiming(response.account.stages);
  if (asked.request.message) return { status: 200, headers: told, body: emptyBody, message: reply };
  const binary = binaryChoice(message);
  const writing = api.written.layOut(reply, binary, () => writeInferReplyInSteps(reply, binary, pause));
  const { headers, parts } = writing instanceof Promise ? await writing : writing;
  const body = { kind: "parts", parts, given: true } as const;
  stateChecksum(api, asked, told, body);
  return { status: 200, headers: Object.assign(told, headers), body };
}
