import type { EndpointId } from "../base/index.ts";
import type { KnownModel } from "./known-model.ts";
import type { Place } from "./place.ts";

/** The place of that name, as long as it is the one whose offers are known. */
export function placeFor(
  id: EndpointId,
  { saidBy }: KnownModel,
  all: ReadonlyMap<EndpointId, Place>,
): Place | undefined {
  const place = all.get(id);
  return place?.endpoint === saidBy.get(id) ? place : undefined;
}
