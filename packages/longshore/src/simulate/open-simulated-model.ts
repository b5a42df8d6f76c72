import { LongshoreError } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { plainModel, profiledModel, type ScenarioFile, type SimulatedModel } from "@longshore/lab";
import { openEngine } from "../engine/open-engine.ts";
import { openModel } from "../engine/open-model.ts";
import { readProfile } from "../profile/read-profile.ts";

/** The model of a scenario, and how fast the device runs it beside the machine that its times are of. */
export interface OpenedSimulatedModel {
  readonly model: SimulatedModel;
  readonly deviceSpeed: number;
}

/**
 * Opens what a scenario says of its model: plain numbers, a `profile.json`, or a model whose package holds a profile.
 * Throws `unknown-model`, and `invalid-input` where there is no profile.
 */
export async function openSimulatedModel(model: ScenarioFile["model"]): Promise<OpenedSimulatedModel> {
  if (typeof model !== "string") {
    const { replyBytes, ...rest } = model;
    return plainModel({ ...rest, ...(replyBytes === undefined ? {} : { replyBytes }) });
  }
  if (model.endsWith(".json")) return { model: profiledModel(await readProfile(model)), deviceSpeed: 1 };
  const opened = await openModel(model);
  if (opened.model === undefined) {
    throw new LongshoreError(
      "unknown-model",
      "resolve",
      `${model} is a repository; name one of its models: ${model}/MODEL`,
    );
  }
  const { engine, close } = openEngine({ store: opened.store });
  try {
    const known = await engine.describe(opened.model, undefined, housekeepingCall("simulate"));
    if (!known) throw new LongshoreError("unknown-model", "resolve", `there is no model ${model}`);
    if (!known.profile) {
      throw new LongshoreError(
        "invalid-input",
        "resolve",
        `${model} has no profile to simulate with; measure one with 'longshore profile ${model} --write', or state plain numbers: --model bytes=150000,localMs=400,serverMs=15`,
      );
    }
    return { model: profiledModel(known.profile, known.description), deviceSpeed: 1 };
  } finally {
    await close();
  }
}
