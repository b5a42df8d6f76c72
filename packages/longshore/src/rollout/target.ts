import { type Endpoint, housekeepingCall, LongshoreError, type Target } from "@longshore/core";

/** What a version of a model consists of here. Throws `unknown-version`. */
export async function targetOf(endpoint: Endpoint, model: string, version: string): Promise<Target> {
  const found = await endpoint.describe(model, version, housekeepingCall("rollout"));
  if (found?.description.version === version) return { version, digest: found.description.digest };
  throw new LongshoreError(
    "unknown-version",
    "resolve",
    `there is no version ${version} of model ${model} here`,
  );
}
