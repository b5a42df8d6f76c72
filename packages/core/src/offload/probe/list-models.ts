import { type Call, type Clock, type EndpointId, ownCall } from "../../words/base/index.ts";
import type { Endpoint, ModelListing } from "../../wire/endpoint/index.ts";
import type { EndpointStates } from "../endpoints/index.ts";

/** Endpoints with models: this one and others. */
interface Holders {
  readonly self: EndpointId;
  readonly local: Endpoint | undefined;
  readonly endpoints: Pick<EndpointStates, "all">;
  readonly clock: Clock;
}

/** An endpoint that takes longer to list its models is left out, in milliseconds. */
const patienceMs = 3000;

/**
 * The models of all endpoints together, with the best state of each version. Slow endpoints are left out. A question that comes back here
 * is answered where it began.
 */
export async function listModels(
  { self, local, endpoints: others, clock }: Holders,
  call: Call,
  /** Endpoints that are queried, the first ones known. Default: all. */
  most: number = Infinity,
): Promise<readonly ModelListing[]> {
  if (call.path.includes(self)) return [];
  const nowMs = clock.nowMs();
  const well = [...others.all.values()].filter(({ health }) => health.unavailable(nowMs) === undefined);
  // An endpoint that polls others must be able to leave out slow ones in time.
  const deadlineMs = nowMs + Math.min(patienceMs, 0.8 * (call.deadlineMs - nowMs));
  const asking = Object.assign(ownCall(call), { deadlineMs, path: [...call.path, self] });
  const endpoints = [...(local ? [local] : []), ...well.slice(0, most).map(({ endpoint }) => endpoint)];
  const told = await Promise.allSettled(
    endpoints.map(async (one) => (await one.capabilities.models?.(asking)) ?? []),
  );
  const best = new Map<string, ModelListing>();
  for (const listing of told.flatMap((one) => (one.status === "fulfilled" ? one.value : []))) {
    const key = JSON.stringify([listing.name, listing.version]);
    if (best.get(key)?.state !== "READY") best.set(key, listing);
  }
  return [...best.values()];
}
