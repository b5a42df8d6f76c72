import { demandedRank, trustRank } from "../../base/index.ts";
import type { FilterName } from "../plan.ts";
import type { PlanRequest } from "../request.ts";
import type { View } from "../view.ts";
import type { ClassSet } from "../options.ts";
import { dataClassRule } from "./data-class.ts";
import { stateDetail, stateRemoves } from "./state.ts";
import { trustDetail, trustRemoves } from "./trust.ts";
import { unavailableDetail, unavailableRemoves } from "./unavailable.ts";
import { zoneDetail, zoneRemoves } from "./zone.ts";

/** Why nothing of a request may run at this place. */
export interface LocalObstacle {
  readonly filter: FilterName;
  readonly detail: string;
}

/**
 * The filters that look at a place, for this one. On the caller's own machine the data is already there, so trust is no
 * question; the policy still is asked, because it denies words that it does not know.
 */
export function localObstacle(request: PlanRequest, view: View, held: ClassSet): LocalObstacle | undefined {
  const { info, unavailable } = view.device;
  if (!info) return { filter: "unavailable", detail: "nothing runs models at this place" };
  if (unavailableRemoves(unavailable, info.id, request.exclude)) {
    return { filter: "unavailable", detail: unavailableDetail(unavailable) };
  }
  if (stateRemoves(request.sequence, info.id, info.state)) {
    return { filter: "state", detail: stateDetail(request.sequence, info.state) };
  }
  const zones = [info.zone];
  if (zoneRemoves(zones, request.rules.zones, true)) {
    return { filter: "zone", detail: zoneDetail(zones, request.rules.zones) };
  }
  const { leastTrust } = request.rules;
  if (info.zone !== "device" && trustRemoves(trustRank(info.trust), demandedRank(leastTrust))) {
    return { filter: "trust", detail: trustDetail(info.trust, leastTrust) };
  }
  const place = { id: info.id, zones, trust: info.trust };
  const rule = dataClassRule(view.policy, request, place, held.classes, held.reveals);
  return rule === undefined ? undefined : { filter: "data-class", detail: rule };
}
