import { type Clock, type Endpoint, endCut, startCut } from "@longshore/core";
import { housekeepingCall, noVersion, type Target } from "@longshore/core/internal";

/** The content of a version of a model here. Throws `unknown-version`. */
export async function targetOf(endpoint: Endpoint, model: string, version: string): Promise<Target> {
  const found = await endpoint.describe(model, version, housekeepingCall("rollout"));
  if (found?.description.version === version) return { version, digest: found.description.digest };
  throw noVersion(model, version);
}

/** A version that is not loaded after this many milliseconds counts as one that cannot be. */
export const longestLoadMs = 300_000;

/** Loads a version here and at the endpoints that it uses. Throws the error if it could be loaded nowhere. */
export async function prepareTarget(
  endpoint: Endpoint,
  model: string,
  target: Target,
  clock: Clock,
  abort: AbortSignal,
): Promise<void> {
  const call = { ...housekeepingCall("rollout", abort), deadlineMs: clock.nowMs() + longestLoadMs };
  // Each endpoint has the variants that requests would use.
  await endpoint.capabilities.prepare?.({ model, ...target, variant: "", from: startCut, to: endCut }, call);
}
