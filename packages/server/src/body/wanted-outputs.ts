import { type InferenceResponse, LongshoreError, type ModelDescription, type Tensor } from "@longshore/core";
import {
  inSteps,
  type InferRequestMessage,
  rowsSuffix,
  statePrefix,
  type WireTensor,
} from "@longshore/core/internal";
import { classify } from "./classify.ts";

/**
 * The requested outputs in the order of the request, classified where requested. Classifying large outputs pauses after about
 * each two milliseconds (`pause`).
 */
export function wantedOutputs(
  response: InferenceResponse,
  message: InferRequestMessage,
  description: ModelDescription,
  pause: () => Promise<void>,
): ReadonlyMap<string, Tensor> | Promise<ReadonlyMap<string, Tensor>> {
  if (!message.outputs) return response.outputs;
  return inSteps(wantedInSteps(response, message.outputs, description), pause);
}

function* wantedInSteps(
  response: InferenceResponse,
  outputs: NonNullable<InferRequestMessage["outputs"]>,
  description: ModelDescription,
): Generator<void, ReadonlyMap<string, Tensor>> {
  const wanted = new Map<string, Tensor>();
  for (const { name, classification } of outputs) {
    const tensor = response.outputs.get(name);
    if (tensor && !classification) {
      wanted.set(name, tensor);
      continue;
    }
    const declared = description.outputs.find((output) => output.name === name);
    if (!tensor && declared?.optional) continue;
    if (!tensor) throw new LongshoreError("run-failed", "execute", `the run gave no output ${name}`);
    // Its server has named its classes already.
    const isNamed =
      tensor.spec.datatype === "BYTES" && declared !== undefined && declared.datatype !== "BYTES";
    const labels = Object.hasOwn(description.labels, name) ? description.labels[name] : undefined;
    const batched = description.batching.maxBatchSize > 0;
    wanted.set(
      name,
      classification && !isNamed ? yield* classify(tensor, classification, batched, labels) : tensor,
    );
  }
  return wanted;
}

/** Decides for each tensor of the reply whether it goes into the binary part. */
export function binaryChoice(message: InferRequestMessage): (output: Pick<WireTensor, "name">) => boolean {
  return ({ name }) => {
    if (name.startsWith(statePrefix)) return true;
    const owner = name.endsWith(rowsSuffix) ? name.slice(0, -rowsSuffix.length) : name;
    const asked = message.outputs?.find((output) => output.name === name || output.name === owner);
    return asked?.binary ?? message.binaryOutputs;
  };
}
