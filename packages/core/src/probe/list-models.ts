import { type Call, type Clock, type EndpointId, ownCall } from "../base/index.ts";
import type { Endpoint, ModelListing } from "../endpoint/index.ts";
import type { Places } from "../places/index.ts";

/** Who has models: this place and others. */
interface Holders {
  readonly self: EndpointId;
  readonly local: Endpoint | undefined;
  readonly places: Places;
  readonly clock: Clock;
}

/** Who takes longer to say what it has does not answer, in milliseconds. */
const patienceMs = 3000;

/**
 * What the places have between them; the best state of each version. Places that do not answer soon are left out, and a question
 * that comes back to here is answered where it began.
 */
export async function listModels(
  { self, local, places, clock }: Holders,
  call: Call,
): Promise<readonly ModelListing[]> {
  if (call.path.includes(self)) return [];
  const nowMs = clock.nowMs();
  const well = [...places.all.values()].filter(({ health }) => health.unavailable(nowMs) === undefined);
  // Who asks others in turn is to leave out in time those that do not answer.
  const deadlineMs = nowMs + Math.min(patienceMs, 0.8 * (call.deadlineMs - nowMs));
  const asking = Object.assign(ownCall(call), { deadlineMs, path: [...call.path, self] });
  const endpoints = [...(local ? [local] : []), ...well.map(({ endpoint }) => endpoint)];
  const told = await Promise.allSettled(endpoints.map(async (one) => (await one.models?.(asking)) ?? []));
  const best = new Map<string, ModelListing>();
  for (const listing of told.flatMap((one) => (one.status === "fulfilled" ? one.value : []))) {
    const key = JSON.stringify([listing.name, listing.version]);
    if (best.get(key)?.state !== "READY") best.set(key, listing);
  }
  return [...best.values()];
}
