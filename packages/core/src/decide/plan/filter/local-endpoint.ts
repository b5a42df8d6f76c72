import { demandedRank, type Rules, trustRank } from "../../../words/base/index.ts";
import type { FilterName } from "../plan.ts";
import type { PlanRequest } from "../request.ts";
import type { View } from "../view.ts";
import type { ClassSet } from "../options.ts";
import { dataClassRule, type PolicyEndpoint } from "./data-class.ts";
import { onlyDetail, onlyRemoves } from "./only.ts";
import { stateDetail, stateRemoves } from "./state.ts";
import { trustDetail, trustRemoves } from "./trust.ts";
import { unavailableDetail, unavailableRemoves } from "./unavailable.ts";
import { zoneDetail, zoneRemoves } from "./zone.ts";

/** Why nothing of a request may run at this endpoint. */
export interface LocalObstacle {
  readonly filter: FilterName;
  readonly detail: string;
}

/** Why rules keep a request from an endpoint that would run it itself: its zones or its trust. */
export function brokenRule({ zones, leastTrust }: Rules, at: PolicyEndpoint): LocalObstacle | undefined {
  if (zoneRemoves(at.zones, zones, true)) return { filter: "zone", detail: zoneDetail(at.zones, zones) };
  const trusted = at.zones.includes("device") || !trustRemoves(trustRank(at.trust), demandedRank(leastTrust));
  return trusted ? undefined : { filter: "trust", detail: trustDetail(at.trust, leastTrust) };
}

/**
 * Applies the endpoint filters to this device. The data is already on the caller's own machine, so trust does not matter. The policy still
 * applies, because it denies unknown classes.
 */
export function localObstacle(request: PlanRequest, view: View, held: ClassSet): LocalObstacle | undefined {
  const { info, unavailable } = view.device;
  if (!info) return { filter: "unavailable", detail: "nothing runs models at this endpoint" };
  if (unavailableRemoves(unavailable, info.id, request.exclude)) {
    return { filter: "unavailable", detail: unavailableDetail(unavailable) };
  }
  if (onlyRemoves(request.limits, info)) return { filter: "only", detail: onlyDetail(request.limits) };
  if (stateRemoves(request.sequence, info.id, info.state)) {
    return { filter: "state", detail: stateDetail(request.sequence, info.state) };
  }
  const endpoint = { id: info.id, zones: [info.zone], trust: info.trust };
  const broken = brokenRule(request.rules, endpoint);
  if (broken) return broken;
  const rule = dataClassRule(view.policy, request, endpoint, held.classes, held.reveals);
  return rule === undefined ? undefined : { filter: "data-class", detail: rule };
}
