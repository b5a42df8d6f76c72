import type { EndpointInfo } from "../../../wire/endpoint/index.ts";
import { isOnly, type Only, type PlanLimits } from "../../goal/index.ts";

/** Removes endpoints that the caller did not name in `only`. */
export function onlyRemoves(
  { only }: PlanLimits,
  info: Pick<EndpointInfo, "id" | "tier"> | undefined,
): boolean {
  return only !== undefined && (info === undefined || !isOnly(only, info));
}

/** The sentence for `lost`. */
export function onlyDetail({ only, prefer }: PlanLimits): string {
  const named = (one: Only | undefined): string =>
    typeof one === "object" ? `endpoint ${one.endpoint}` : `the ${one ?? ""} tier`;
  return only === undefined
    ? `the request prefers ${named(prefer)}`
    : `the request is for ${named(only)} only`;
}
