import type { EndpointId } from "../../../words/base/index.ts";

/** Removes paths that return to this endpoint, or to one that the request has passed. */
export function loopRemoves(
  route: readonly EndpointId[],
  been: readonly EndpointId[],
  self: EndpointId,
): boolean {
  for (const endpoint of route) if (endpoint === self || been.includes(endpoint)) return true;
  return false;
}

/** The sentence for `lost`. */
export function loopDetail(route: readonly EndpointId[]): string {
  return `the way ${route.join(" > ")} leads back to where the request has been`;
}
