import { demandedRank, type EndpointId, trustLevels } from "../../words/base/index.ts";
import type { EndpointInfo } from "../../wire/endpoint/index.ts";
import { dataClassRule } from "./filter/data-class.ts";
import { loopRemoves } from "./filter/loop.ts";
import { onlyRemoves } from "./filter/only.ts";
import { filterIndex } from "./filter/order.ts";
import { stateRemoves } from "./filter/state.ts";
import { trustRemoves } from "./filter/trust.ts";
import { unavailableRemoves } from "./filter/unavailable.ts";
import { zoneRemoves } from "./filter/zone.ts";
import { isOnly } from "../goal/index.ts";
import type { Options } from "./options.ts";
import type { PlanRequest } from "./request.ts";
import type { ModelView, View } from "./view.ts";

const unavailable = filterIndex("unavailable");
const onlyFilter = filterIndex("only");
const loop = filterIndex("loop");
const state = filterIndex("state");
const zone = filterIndex("zone");
const trust = filterIndex("trust");

/** The filters that look at an endpoint and a way, for one decision. */
export interface EndpointRules {
  /** The filter that keeps a route out, or -1. */
  removes(route: number, endpoint: number): number;
  /** The policy's rule that keeps a crossing's classes away from a route, or an empty text. */
  forbids(route: number, endpoint: number, classSet: number): string;
}

/** Evaluates zones once for each set of zones, and policies once for each distinct endpoint as policies see it. */
export function endpointRules(
  request: PlanRequest,
  view: View,
  model: ModelView,
  options: Options,
): EndpointRules {
  const { routes } = model;
  const { endpoints, policy } = view;
  const { path, exclude, sequence, rules, limits } = request;
  const { only, prefer } = limits;
  const leastRank = demandedRank(rules.leastTrust);
  const zoneRemoved = routes.zoneSets.map((zones) => zoneRemoves(zones, rules.zones, false));
  const own = endpoints.index.get(view.self) ?? -1;
  const answers: (string | undefined)[] = [];
  const anyExcluded = exclude.size > 0;
  const anyPath = path.length > 0;
  // The description of an endpoint is read only where a rule needs it: it lies elsewhere in memory for each of them.
  const anyNamed = only !== undefined || prefer !== undefined;
  const isNotNamed = (info: EndpointInfo | undefined): boolean =>
    onlyRemoves(limits, info) || (prefer !== undefined && (info === undefined || !isOnly(prefer, info)));
  const classSetCount = options.classSets.length;
  const idOf = (endpoint: number): EndpointId => endpoints.ids[endpoint] ?? "";
  return {
    removes(route, endpoint) {
      const down = endpoints.unavailable[endpoint];
      if (down !== undefined || anyExcluded) {
        if (unavailableRemoves(down, idOf(endpoint), exclude)) return unavailable;
      }
      if (anyNamed && isNotNamed(endpoints.infos[endpoint])) return onlyFilter;
      if (endpoint === own) return loop;
      if (anyPath || routes.forwards[route] === 1) {
        if (loopRemoves(routes.paths[route] ?? [], path, view.self)) return loop;
      }
      if (sequence) {
        const keeps = endpoints.infos[endpoint]?.state ?? "none";
        if (stateRemoves(sequence, idOf(endpoint), keeps)) return state;
      }
      const badZone = zoneRemoved[routes.zoneSet[route] ?? 0] !== false;
      if (!badZone && !trustRemoves(routes.trustRank[route] ?? 0, leastRank)) return -1;
      // On the caller's own machine the data is already there, so neither zone nor trust is a question.
      if (endpoints.infos[endpoint]?.sameDevice) return -1;
      return badZone ? zone : trust;
    },
    forbids(route, endpoint, classSet) {
      const shared = policy.ignoresEndpoint === true;
      const zoneSet = routes.zoneSet[route] ?? 0;
      const key = shared
        ? (zoneSet * trustLevels + (routes.trustRank[route] ?? 0)) * classSetCount + classSet
        : -1;
      const known = shared ? answers[key] : undefined;
      if (known !== undefined) return known;
      const set = options.classSets[classSet];
      const answer = set
        ? (dataClassRule(
            policy,
            request,
            {
              id: idOf(endpoint),
              zones: routes.zoneSets[zoneSet] ?? [],
              trust: routes.trust[route] ?? "none",
            },
            set.classes,
            set.reveals,
          ) ?? "")
        : "its data class is unknown";
      if (shared) answers[key] = answer;
      return answer;
    },
  };
}
