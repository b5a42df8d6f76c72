import { endCut, LongshoreError, type ModelDescription, type Segment } from "@longshore/core";
import type { InferRequestMessage } from "@longshore/core/internal";
import { binaryChoice } from "../../body/index.ts";

/** Refuses unknown outputs before the model runs. */
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

/** Refuses outputs that are requested as JSON but have no JSON form, before the model runs. */
export function checkJsonForms(
  message: InferRequestMessage,
  { to }: Segment,
  description: ModelDescription,
): void {
  if (to !== endCut) return;
  for (const { name, datatype } of description.outputs) {
    if (datatype !== "FP16" && datatype !== "BF16") continue;
    const incoming = message.outputs ? message.outputs.find((output) => output.name === name) : { name };
    if (!incoming || incoming.shared || incoming.classification || binaryChoice(message)(incoming)) continue;
    throw new LongshoreError(
      "invalid-input",
      "admission",
      `output ${name} is ${datatype}, which has no JSON form; request it as binary data`,
    );
  }
}
