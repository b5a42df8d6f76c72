/** All plans that a request could keep to under the rules, and the few of them that are worth a replay of their own. */
import { endCut, standardPolicy, startCut } from "@longshore/core";
import { zoneWithin } from "@longshore/core/internal";
import { meanBitsPerSecond } from "../trace/index.ts";
import {
  bucketOf,
  expectedMs,
  type PlanCandidate,
  planCandidates,
  type WorldEndpoint,
} from "../world/index.ts";
import type { Simulation } from "./simulation.ts";

const defaultAgreementRatio = 0.995;

/** Endpoints that the rules let the input go to. */
function allowedEndpoints({ endpoints, limits }: Simulation): readonly WorldEndpoint[] {
  const policy = standardPolicy();
  const { dataClass = "unknown", zones } = limits;
  return endpoints.filter(({ info }) => {
    const facts = {
      dataClass,
      reveals: "input" as const,
      endpoint: info.id,
      zone: info.zone,
      trust: info.trust,
    };
    return (!zones || zoneWithin(info.zone, zones)) && policy.decide({ ...facts, tenant: "local" }).allow;
  });
}

/** Every plan that the rules, the agreement limit and the tiers of variants allow: all here, each cut in each coding. */
export function allowedPlans(simulation: Simulation): readonly PlanCandidate[] {
  const { model, limits } = simulation;
  const least = limits.minAgreementRatio ?? defaultAgreementRatio;
  const found: PlanCandidate[] = [];
  for (const { name, tiers, agreementRatio } of model.description.variants) {
    const profiled = model.profile.variants.some(({ variant }) => variant === name);
    if (!profiled || agreementRatio < least || (limits.variant !== undefined && limits.variant !== name))
      continue;
    const bucket = bucketOf(model.profile, name, { bytes: 0 });
    const atDevice = !tiers || tiers.includes("device");
    for (const { info } of allowedEndpoints(simulation)) {
      if (tiers && !tiers.includes(info.tier)) continue;
      const away = planCandidates(name, bucket, [info.id], least).filter(({ plan }) => plan.cut !== endCut);
      // A variant that the device may not hold has no head there.
      found.push(...away.filter(({ plan }) => plan.cut === startCut || atDevice));
    }
    if (atDevice) found.push(...planCandidates(name, bucket, []).filter(({ plan }) => plan.cut === endCut));
  }
  return found;
}

/** Splits that are replayed for each endpoint and variant, the quickest on idle links first. */
const splitsTried = 4;

/** Those of them that are worth a replay: all whole runs, and the most promising splits at each endpoint. */
export function fixedPlans(simulation: Simulation): readonly PlanCandidate[] {
  const candidates = allowedPlans(simulation);
  const whole = ({ plan }: PlanCandidate): boolean => plan.cut === startCut || plan.cut === endCut;
  const splits = simulation.endpoints.flatMap((endpoint) => {
    const prices = {
      deviceSpeed: simulation.device.speed,
      endpointSpeed: endpoint.speed ?? 1,
      roundTripMs: 2 * endpoint.delayMs,
      upBitsPerSecond: meanBitsPerSecond(endpoint.up),
      downBitsPerSecond: meanBitsPerSecond(endpoint.down),
    };
    return simulation.model.description.variants.flatMap(({ name }) =>
      candidates
        .filter((one) => !whole(one) && one.plan.endpoint === endpoint.info.id && one.plan.variant === name)
        .sort((a, b) => expectedMs(a, prices) - expectedMs(b, prices))
        .slice(0, splitsTried),
    );
  });
  return [...candidates.filter(whole), ...splits];
}
