import type { Inputs, Limits, Offloader } from "@longshore/core";

/**
 * Waits until an offloader knows the endpoints' versions of a model: if one endpoint can answer already, a first request waits
 * for the others only briefly. Throws after two minutes.
 */
export async function untilKnown(
  offloader: Offloader,
  model: string,
  inputs: Inputs,
  endpoints: readonly string[],
  limits?: Limits,
): Promise<void> {
  for (let round = 0; round < 600; round++) {
    const plan = await offloader.explain(model, inputs, limits);
    // One that has not answered yet is unavailable.
    const able = plan.lost.filter(({ why }) => why.kind !== "filter" || why.filter !== "unavailable");
    const named = new Set([...able, ...("legs" in plan ? plan.legs : [])].map(({ endpoint }) => endpoint));
    if (endpoints.every((id) => named.has(id))) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`it is not known what ${endpoints.join(" and ")} have of ${model}`);
}
