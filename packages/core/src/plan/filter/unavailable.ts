import type { EndpointId } from "../../base/index.ts";

/** Removes places that are down, backing off, or failed for this very request. */
export function unavailableRemoves(
  unavailable: string | undefined,
  endpoint: EndpointId,
  excluded: ReadonlySet<EndpointId>,
): boolean {
  return unavailable !== undefined || excluded.has(endpoint);
}

/** The sentence for `lost`. */
export function unavailableDetail(unavailable: string | undefined): string {
  return unavailable ?? "it failed for this request";
}
