import { type Call, type Clock, type EndpointId, ownCall } from "../../words/base/index.ts";
import type { Endpoint, ModelListing } from "../../wire/endpoint/index.ts";
import type { EndpointStates } from "../endpoints/index.ts";

/** Who has models: this endpoint and others. */
interface Holders {
  readonly self: EndpointId;
  readonly local: Endpoint | undefined;
  readonly endpoints: EndpointStates;
  readonly clock: Clock;
}

/** Who takes longer to say what it has does not answer, in milliseconds. */
const patienceMs = 3000;

/**
 * What the endpoints have between them; the best state of each version. Endpoints that do not answer soon are left out, and a question
 * that comes back to here is answered where it began.
 */
export async function listModels(
  { self, local, endpoints: endpointStates, clock }: Holders,
  call: Call,
): Promise<readonly ModelListing[]> {
  if (call.path.includes(self)) return [];
  const nowMs = clock.nowMs();
  const well = [...endpointStates.all.values()].filter(
    ({ health }) => health.unavailable(nowMs) === undefined,
  );
  // Who asks others in turn is to leave out in time those that do not answer.
  const deadlineMs = nowMs + Math.min(patienceMs, 0.8 * (call.deadlineMs - nowMs));
  const asking = Object.assign(ownCall(call), { deadlineMs, path: [...call.path, self] });
  const endpoints = [...(local ? [local] : []), ...well.map(({ endpoint }) => endpoint)];
  const told = await Promise.allSettled(
    endpoints.map(async (one) => (await one.capabilities?.models?.(asking)) ?? []),
  );
  const best = new Map<string, ModelListing>();
  for (const listing of told.flatMap((one) => (one.status === "fulfilled" ? one.value : []))) {
    const key = JSON.stringify([listing.name, listing.version]);
    if (best.get(key)?.state !== "READY") best.set(key, listing);
  }
  return [...best.values()];
}
