import type { EndpointId } from "../../words/base/index.ts";
import type { KnownModel } from "../models/index.ts";
import type { EndpointState } from "./endpoint-state.ts";

/** The endpoint of that name, if it is still the one whose offers are known. */
export function endpointFor(
  id: EndpointId,
  { saidBy }: KnownModel,
  all: ReadonlyMap<EndpointId, EndpointState>,
): EndpointState | undefined {
  const endpoint = all.get(id);
  return endpoint?.endpoint === saidBy.get(id) ? endpoint : undefined;
}
